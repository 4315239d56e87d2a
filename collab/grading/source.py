"""Source code as answers hold it: margins, prompts and magics taken off. Nothing is parsed."""

from __future__ import annotations

import re
from textwrap import dedent

TRIPLE = re.compile(r"\"\"\"|'''")
FUTURE = re.compile(
    r"^from __future__ import (\([^)]*\)|[\w, ]+)[ \t]*(?:;[ \t]*|#[^\n]*)?", re.MULTILINE
)
INVISIBLE = re.compile(r"^[\ufeff\u200b\u200c\u200d\u2060]+", re.MULTILINE)
NBSP = re.compile(r"^[ \t]*\xa0[ \t\xa0]*", re.MULTILINE)
DOCTEST = re.compile(r"(?:>>>|\.\.\.)(?: (.*)|$)")
CELL = re.compile(r"(?:In ?\[[\d ]*\]: ?| *\.{3,}: ?)(.*)")
OUTPUT = re.compile(r"Out ?\[[\d ]*\]:")
BLOCK = re.compile(r":\s*(#.*)?$")
MAGIC = re.compile(r"%{1,2}[A-Za-z]|![\w.]|[\w.]+\?{1,2}$|\?{1,2}\w")


def split_lines(text: str) -> list[str]:
    """Split at line ends alone: form feeds and U+2028 may stand in strings."""
    text = text.replace("\r\n", "\n")
    return (text if "\n" in text else text.replace("\r", "\n")).split("\n")


def visible(text: str) -> str:
    """Return text without invisible characters in its margin."""
    return NBSP.sub(lambda margin: margin[0].replace("\xa0", " "), INVISIBLE.sub("", text))


def plain(code: str) -> str:
    """Return code without its margin, the prompts of a session, its output, and magics."""
    return dedented("\n".join(_without_magics(_typed(split_lines(code)))))


def _typed(lines: list[str]) -> list[str]:
    """Return what was typed in a session; all lines where it is none."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith(">>>"):
        typed = [DOCTEST.fullmatch(line.strip()) for line in lines]
        return [mark[1] or "" for mark in typed if mark]
    if not CELL.fullmatch(first):
        return lines
    cells = [CELL.fullmatch(line) for line in lines]
    if any("...:" in line for line in lines):
        return [mark[1] for mark in cells if mark]
    kept = zip(lines, cells, strict=True)
    return [mark[1] if mark else line for line, mark in kept if not OUTPUT.match(line)]


def _without_magics(lines: list[str]) -> list[str]:
    """Leave out commands to a notebook, outside of texts of several lines."""
    kept, quotes = [], 0
    for line in lines:
        if quotes % 2 or not MAGIC.match(line):
            kept.append(line)
            quotes += len(TRIPLE.findall(line))
    return kept


def dedented(code: str) -> str:
    """Take off the margin, which the first line may have lost."""
    first, _, rest = code.strip("\n").partition("\n")
    lines = [line for line in rest.split("\n") if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    lost = first[:1].strip() and margin and not _goes_on(first)
    if lost and BLOCK.search(first):  # the next line may be its block
        lost = len(lines[0]) - len(lines[0].lstrip()) > margin
    return f"{first}\n{dedent(rest)}" if lost else dedent(code)


def _goes_on(line: str) -> bool:
    """Return whether a statement seems to go on in the next line."""
    opened = sum(line.count(one) for one in "([{") > sum(line.count(one) for one in ")]}")
    return opened or line.endswith("\\") or len(TRIPLE.findall(line)) % 2 == 1


def future_first(before: str, code: str) -> str:
    """Return code behind other code, its imports from `__future__` in front: Python wants it so."""
    marks = [
        mark
        for mark in FUTURE.finditer(code)
        if len(TRIPLE.findall(code, 0, mark.start())) % 2 == 0
    ]
    future = "".join(f"from __future__ import {mark[1].rstrip()}\n" for mark in marks)
    for mark in reversed(marks):
        code = code[: mark.start()] + code[mark.end() :]
    return f"{future}{before}\n{code}"


def definitions(code: str) -> str:
    """Return the imports and definitions of code: no example of use, no call."""
    kept: list[str] = []
    keeps, quotes = False, 0
    for line in split_lines(code):
        if not quotes % 2 and line.strip() and not line[0].isspace() and line[0] not in ")]}":
            keeps = re.match(r"(async def|def|class|import|from)\b|@\w", line) is not None
        if keeps:
            kept.append(line)
        quotes += len(TRIPLE.findall(line))
    return "\n".join(kept)
