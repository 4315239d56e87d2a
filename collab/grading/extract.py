"""Finding the code in an answer. No answer is parsed here: it may be made to break a parser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from collab.grading.fences import STARTS, Block, blocks
from collab.grading.source import definitions, plain, split_lines, visible

MAX_CHARS = 50_000
"""How much of a long answer is read: its end."""
PYTHON = frozenset(
    {"", "py", "python", "python2", "python3", "py3", "pycon", "ipython", "ipython3", "python-repl"}
)
INDENTED = re.compile(r"[ \t]+(async def |def |class |import |from \w+ import )")
DEFINES = re.compile(
    r"(async def |def |class |import |from [\w.]+ import |@\w|#|\s|[)\]}]|\"\"\""
    r"|[A-Z_]+ *= *[^(]*$)"
)
"""A line of a block that only imports and defines."""
GOES_ON = re.compile(r"\s|$|[#@)\]}]|[A-Za-z_][\w.]*\s*(=|\(|\[)|(if|for|while|with|try|return)\b")
"""How its other lines begin, besides."""
MARKED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.DOTALL)
ASSERTION = re.compile(r"^[ \t>*-]*`?(assert\b.*)", re.MULTILINE)
VALUE = re.compile(r"[A-Za-z_]\w*( *:[^=(]*)? *= *(?P<value>.*)")
"""A line that gives a name a value."""
CALLED = re.compile(r"([\w.]+)\(")
MAKERS = re.compile(
    r"(dict|list|set|tuple|frozenset|range|len|sorted|reversed|sum|min|max|abs|map|filter|zip|float"
    r"|enumerate|int|str|bool|ord|chr|round|any|all|deque|defaultdict|OrderedDict|Counter"
    r"|namedtuple|re\.compile|float|collections\.\w+|math\.\w+)"
)
"""What such a value may call; what an example of use calls is something else."""
LIMIT = re.compile(r"(sys\.setrecursionlimit|threading\.stack_size|warnings\.\w+)\(")
TEST = re.compile(r"[Tt]est")
BODY = re.compile(
    r"[ \t]{2,}(return|if|for|while|try|with|[A-Za-z_]\w* *[-+*/]?=)\b|[ \t]{2,}\"{3}"
)
"""How the rest of a function begins, without a fence."""
QUOTED = re.compile(r"^> ?(?=.*)", re.MULTILINE)
HTML = re.compile(r"<(pre|code)\b[^<>]*>(?:\s*<code\b[^<>]*>)?", re.IGNORECASE)
SESSION = re.compile(r"^(>>> .*|In ?\[[\d ]*\]: .*)", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Found:
    """The code of an answer."""

    code: str
    asked: bool
    """Whether it stood in a fenced block, as it was asked for."""


def find(text: str, reads: Literal["program", "value", "call"], entry: str | None) -> Found | None:
    """Return the code in an answer, or None.

    Of several fenced blocks, a program is the last that defines the entry, else the last, together
    with the blocks that only import and define other names. An expression is the last assertion,
    else the last block.
    """
    text = visible(text[-MAX_CHARS:])
    if re.search(r"^> ?(`{3}|~{3})", text, re.MULTILINE):
        text = QUOTED.sub("", text)
    found = blocks(text)
    ours = [block for block in found if block.language.lower() in PYTHON] or found
    return _program(text, ours, entry) if reads == "program" else _expression(text, ours)


def _program(text: str, found: Sequence[Block], entry: str | None) -> Found | None:
    found = [replace(block, code=_unpacked(block.code)) for block in found]
    if not found:
        return _unfenced(text, entry)
    chosen = max((n for n, one in enumerate(found) if defines(one.code, entry)), default=-1)
    main = found[chosen]
    if not main.code.strip():
        return None
    code = main.code if chosen < 0 else "\n".join(_joined(found, chosen))
    return Found(code, main.closed)


def _unpacked(code: str) -> str:
    """Return the code of a block, or of a notebook's cells."""
    if '"cell_type"' in code:
        try:
            cells = json.loads(code)["cells"]
            sources = ["".join(one["source"]) for one in cells if one["cell_type"] == "code"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return code
        return "\n".join(map(plain, sources))
    return plain(code)


def _unfenced(text: str, entry: str | None) -> Found | None:
    """Return the program of an answer without a fenced block."""
    marked = [plain(html.unescape(code)) for code in _html(text)]
    marked += [plain(one.removeprefix("python ")) for one in INLINE.findall(text)]
    lines = list(_bare(text))
    whole = next((code for code in reversed(marked) if defines(code, entry)), None)
    if whole is not None and (not lines or "\n" in whole.strip()):
        return Found(whole, asked=False)
    session = SESSION.search(text)
    if not lines and session is not None:
        return Found(plain(text[session.start() :]), asked=False)
    if not lines and BODY.match(first := text.strip("\r\n")):
        return Found(plain(first), asked=False)
    return Found("\n".join(lines), asked=False) if lines else None


def _html(text: str) -> Iterator[str]:
    """Yield what is marked as code in HTML."""
    at = 0
    while mark := HTML.search(text, at):
        end = text.find(f"</{mark[1]}>", mark.end())
        if end >= 0:
            yield text[mark.end() : end].removesuffix("</code>")
        at = max(end, mark.end())


def _joined(found: Sequence[Block], chosen: int) -> Iterator[str]:
    """Yield the code of the main block, and what others define besides its names.

    Of a block that also shows examples, it is the definitions that the main block uses.
    """
    main = found[chosen].code
    names = set(_names(main))
    for at, block in enumerate(found):
        own = _names(block.code)
        used = any(re.search(rf"\b{name}\b", main) for name in own)
        if at == chosen:
            yield main
        elif names.isdisjoint(own) and (used or not any(map(TEST.match, own))):
            code = block.code
            if not _only_defines(code, values=at < chosen):
                code = definitions(code) if used else ""
            if code:
                names.update(own)
                yield code


def _names(code: str) -> list[str]:
    """Return the functions and classes that code defines at its outermost level."""
    return re.findall(r"^(?:async +)?(?:def|class) +(\w+)", code, re.MULTILINE)


def _only_defines(code: str, *, values: bool) -> bool:
    """Return whether code only imports and defines, or also gives names their values."""
    lines = [line for line in split_lines(code) if line.strip()]
    return bool(lines) and all(
        DEFINES.match(line) or LIMIT.match(line) or (values and _gives_value(line))
        for line in lines
    )


def _gives_value(line: str) -> bool:
    mark = VALUE.fullmatch(line)
    return mark is not None and all(map(MAKERS.fullmatch, CALLED.findall(mark["value"])))


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
