"""Finding the code in an answer. No answer is parsed here: it may be made to break a parser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

MAX_CHARS = 50_000
"""How much of a long answer is read: its end."""
FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)(.*)")
PYTHON = frozenset({"", "py", "python", "python3", "py3"})
STARTS = re.compile(r"(async |def |class |import |from \w|@\w)")
"""How a program without a fence begins."""
GOES_ON = re.compile(r"\s|$|[#@)\]}]|[A-Za-z_][\w.]*\s*(=|\(|\[)|(if|for|while|with|try|return)\b")
"""How its other lines begin, besides."""
MARKED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.DOTALL)
ASSERTION = re.compile(r"^[ \t>*-]*`?(assert\b.*)", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Found:
    """The code of an answer."""

    code: str
    asked: bool
    """Whether it stood in a fenced block, as it was asked for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    code: str
    closed: bool


def find(text: str, reads: Literal["program", "value", "call"], entry: str | None) -> Found | None:
    """Return the code in an answer, or None.

    Of several fenced blocks, a program is the last that defines the entry, else the last; an
    expression is the last assertion, else the last block.
    """
    text = text[-MAX_CHARS:]
    found = blocks(text)
    ours = [block for block in found if block.language.lower() in PYTHON] or found
    return _program(text, ours, entry) if reads == "program" else _expression(text, ours)


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a text; the last one may lack its end."""
    found: list[Block] = []
    lines: list[str] = []
    margin, fence, language = "", "", ""
    for line in text.splitlines():
        mark = FENCE.fullmatch(line)
        if fence and mark and mark[2].startswith(fence) and not mark[3] + mark[4].strip():
            found.append(Block(language, "\n".join(lines), closed=True))
            fence = ""
        elif fence:
            lines.append(line.removeprefix(margin))
        elif mark and "`" not in mark[4]:
            (margin, fence, language), lines = mark.group(1, 2, 3), []
    if fence:
        found.append(Block(language, "\n".join(lines), closed=False))
    return found


def _program(text: str, found: Sequence[Block], entry: str | None) -> Found | None:
    if not found:
        lines = list(_bare(text))
        return Found("\n".join(lines), asked=False) if lines else None
    block = ([block for block in found if defines(block.code, entry)] or list(found))[-1]
    return Found(block.code, block.closed) if block.code.strip() else None


def defines(code: str, name: str | None) -> bool:
    """Return whether code seems to define a name, at its outermost level."""
    if name is None:
        return False
    define = rf"^((async +)?(def|class) +{re.escape(name)}\b|{re.escape(name)} *(:.*)?=(?!=))"
    return re.search(define, code, re.MULTILINE) is not None


def _bare(text: str) -> Iterator[str]:
    """Yield the lines of a program that stands among others without a fence."""
    began = False
    for line in text.splitlines():
        if began and not (STARTS.match(line) or GOES_ON.match(line)):
            return
        began = began or STARTS.match(line) is not None
        if began:
            yield line


def _expression(text: str, found: Sequence[Block]) -> Found | None:
    marked = MARKED.findall(text)
    region = marked[-1] if marked else found[-1].code if found else None
    assertions = list(ASSERTION.finditer(text if region is None else region))
    if assertions:
        start = assertions[-1].start(1)
        code = assertions[-1][1].rstrip("`") if region is None else region[start:]
        return Found(code.strip(), region is not None)
    if region is None:
        inline = INLINE.findall(text)
        return Found(inline[-1].strip(), asked=False) if inline else None
    return Found(region.strip(), asked=True) if region.strip() else None
