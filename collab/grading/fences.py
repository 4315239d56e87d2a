"""Fenced blocks of Markdown, as answers hold them. Nothing is parsed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from collab.grading.source import TRIPLE, split_lines

FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)(.*)")
STARTS = re.compile(r"(async |def |class |import |from \w|@\w)")
"""How a program without a fence begins."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    code: str
    closed: bool


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a text; the last one may lack its end.

    A fence inside a docstring ends no block, unless the block then has no end at all.
    """
    found: list[Block] = []
    lines = split_lines(text)
    at = 0
    while at < len(lines):
        mark = FENCE.fullmatch(lines[at])
        at += 1
        if mark and "`" not in mark[4]:
            margin, fence, language = mark.group(1, 2, 3)
            end, last = _end_of(lines, at, fence)
            body = [line.removeprefix(margin) for line in lines[at:end]] + last
            if STARTS.match(opened := mark[4].strip()):  # the code begins on the fence's line
                body.insert(0, opened)
            found.append(Block(language, "\n".join(body), closed=end < len(lines)))
            at = end + 1
    return found


def _end_of(lines: Sequence[str], start: int, fence: str) -> tuple[int, list[str]]:
    """Return where a block ends, and what of its last line is code."""
    first, quotes = len(lines), 0
    for at in range(start, len(lines)):
        mark = FENCE.fullmatch(lines[at])
        if mark and mark[2].startswith(fence) and not mark[3] + mark[4].strip():
            if not quotes % 2:
                return at, []
            first = min(first, at)
        quotes += len(TRIPLE.findall(lines[at]))
        line = lines[at].rstrip()
        if line.endswith(fence) and line.strip("` ") and "#" not in line and not quotes % 2:
            return at, [line.removesuffix(fence)]  # the fence ends a line of code
    if first < len(lines):
        return first, []
    for at in range(start, len(lines)):  # the fence may end a line of code
        line = lines[at].rstrip()
        if line.endswith(fence) and line.strip("` "):
            return at, [line.removesuffix(fence)]
    return len(lines), []
