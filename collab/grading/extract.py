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
INDENTED = re.compile(r"[ \t]+(async def |def |class |import |from \w+ import )")
DEFINES = re.compile(
    r"(async def |def |class |import |from [\w.]+ import |@\w|#|\s|[)\]}]|\"\"\""
    r"|[A-Z_]+ *= *[^(]*$)"
)
"""A line of a block that only imports and defines."""
TRIPLE = re.compile(r"\"\"\"|'''")
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

    Of several fenced blocks, a program is the last that defines the entry, else the last, together
    with the blocks that only import and define other names. An expression is the last assertion,
    else the last block.
    """
    text = text[-MAX_CHARS:]
    found = blocks(text)
    ours = [block for block in found if block.language.lower() in PYTHON] or found
    return _program(text, ours, entry) if reads == "program" else _expression(text, ours)


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
            found.append(Block(language, "\n".join(body), closed=end < len(lines)))
            at = end + 1
    return found


def split_lines(text: str) -> list[str]:
    """Split at newlines only: strings may contain form feeds and U+2028."""
    return text.replace("\r\n", "\n").split("\n")


def _end_of(lines: Sequence[str], start: int, fence: str) -> tuple[int, list[str]]:
    """Return where a block ends, and the code on its last line."""
    first, quotes = len(lines), 0
    for at in range(start, len(lines)):
        mark = FENCE.fullmatch(lines[at])
        if mark and mark[2].startswith(fence) and not mark[3] + mark[4].strip():
            if not quotes % 2:
                return at, []
            first = min(first, at)
        quotes += len(TRIPLE.findall(lines[at]))
    if first < len(lines):
        return first, []
    for at in range(start, len(lines)):  # the fence may end a line of code
        line = lines[at].rstrip()
        if line.endswith(fence) and line.strip("` "):
            return at, [line.removesuffix(fence)]
    return len(lines), []


def _program(text: str, found: Sequence[Block], entry: str | None) -> Found | None:
    if not found:
        lines = list(_bare(text))
        return Found("\n".join(lines), asked=False) if lines else None
    chosen = max((n for n, one in enumerate(found) if defines(one.code, entry)), default=-1)
    main = found[chosen]
    if not main.code.strip():
        return None
    code = main.code if chosen < 0 else "\n".join(_joined(found, main))
    return Found(code, main.closed)


def _joined(found: Sequence[Block], main: Block) -> Iterator[str]:
    """Yield the code of the main block, and of others that only define names besides its own."""
    names = set(_names(main.code))
    for block in found:
        if block is main:
            yield block.code
        elif _only_defines(block.code) and names.isdisjoint(own := _names(block.code)):
            names.update(own)
            yield block.code


def _names(code: str) -> list[str]:
    """Return the functions and classes that code defines at its outermost level."""
    return re.findall(r"^(?:async +)?(?:def|class) +(\w+)", code, re.MULTILINE)


def _only_defines(code: str) -> bool:
    """Return whether code only imports and defines: no example of use, no call."""
    lines = [line for line in split_lines(code) if line.strip()]
    return bool(lines) and all(DEFINES.match(line) for line in lines)


def defines(code: str, name: str | None) -> bool:
    """Return whether code seems to define a name, at its outermost level."""
    if name is None:
        return False
    own = re.escape(name)
    assigned = rf"{own} *(:.*)?=(?!=)(?!.*\b{own} *\()"  # `area = area(3)` is an example of use
    define = rf"^((async +)?(def|class) +{own}\b|{assigned})"
    return re.search(define, code, re.MULTILINE) is not None


def _bare(text: str) -> Iterator[str]:
    """Yield the lines of a program without a fence among lines of prose."""
    began = False
    lines = split_lines(text)
    if not any(STARTS.match(line) for line in lines):  # it may be indented as Markdown's code
        margin = next((line[: -len(line.lstrip())] for line in lines if INDENTED.match(line)), "")
        lines = [line.removeprefix(margin) for line in lines]
    for line in lines:
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
