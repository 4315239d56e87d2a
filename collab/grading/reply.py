"""Find the answer of a reply: its boxes, or else its statement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
OPENS = re.compile(r"\\boxed\s*(\{|\\?[\w.+-]+)|\\(?:fbox|framebox(?:\[[^\]]*\])*)\s*(\{)")
OPEN_END = re.compile(r"\n|(?<!\\)\$|\\\]|\\\)|[.。]\s|\s(?=[A-Z][a-z]+\s)")
"""The end of a box without a closing brace."""
BETWEEN = re.compile(
    r"(?:(?!\n\n|\b(?:wrong|but|no|not|instead|actually|first|so|then|check)\b).){0,60}",
    re.DOTALL | re.IGNORECASE,
)
"""The text allowed between two boxes of one list."""
TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
HASHES = re.compile(r"^#{4}\s*(.+)$", re.MULTILINE)
UNDERLINED = re.compile(r"\\underline\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
STATED = re.compile(
    r"(?:\b(?:final\s+|correct\s+)?(?:answer|result|antwort|ergebnis|lösung|réponse|résultat|respuesta"
    r"|resultado|resposta|risposta|risultato)\b|ответ|答案|答え|答|정답|답)[ \t]*"
    r"(?:\*\*|\*|__)?[ \t]*(?:ist|is|are|lautet|est|es|é|è|是|为|為|は|은|는|:|：|=)+[ \t:：]*\n*",
    re.IGNORECASE,
)
CLAUSE_END = re.compile(
    r"[.!?;](?=\s|$|\*|\"|')|[。！？；\n]|,?\s+(?:i\.\s?e\.|that is|because|since|as|so)\b"
    r"|\s\("
)
TRIM = " \t\n*_`\"'"
MATHS = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
WIDE = re.compile(r"([\u2e80-\u9fff\uac00-\ud7af\uff00-\uff0f\uff1a-\uffef，。：])")
E_NOTATION = re.compile(r"(?<![\w.$])(\d+\.?\d*)[eE]([+-]?\d+)(?!\w)(?=[^$]*(?:\$[^$]*\$[^$]*)*$)")
COPULA = re.compile(r".*(?:\b(?:is|are|was|were|be)\b|[:=])\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Box:
    """The content of a box."""

    inside: str
    closed: bool
    asked: bool
    r"""Whether it is a `\boxed`, as requested."""
    start: int
    end: int


def boxes(text: str) -> list[Box]:
    """Return the boxes of a text in order; of nested boxes, the innermost."""
    found = [_box(text, opened) for opened in OPENS.finditer(text)]
    return [box for box in found if not _holds_box(box.inside)]


def _holds_box(inside: str) -> bool:
    return OPENS.search(inside) is not None


def _box(text: str, opened: re.Match[str]) -> Box:
    asked = opened[2] is None
    braced = (opened[1] or opened[2]) == "{"
    if not braced:
        return Box(opened[1], True, asked, opened.start(), opened.end())
    depth = 1
    for brace in BRACE.finditer(text, opened.end()):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            inside = text[opened.end() : brace.start()].strip()
            return Box(inside, True, asked, opened.start(), brace.end())
    end = OPEN_END.search(text, opened.end())
    stop = end.start() if end else len(text)
    inside = text[opened.end() : stop].strip()
    inside += "}" * (inside.count("{") - inside.count("}"))
    return Box(inside, False, asked, opened.start(), stop)


def together(text: str, found: list[Box]) -> str | None:
    """Return the last boxes as one list if only commas and words such as `and` separate them."""
    row = found[-1:]
    for box in reversed(found[:-1]):
        if not BETWEEN.fullmatch(text, box.end, row[0].start) or box.end > row[0].start:
            break
        row.insert(0, box)
    return ", ".join(box.inside for box in row) if len(row) > 1 else None


def marked(text: str) -> str | None:
    """Return the last answer that tags, hashes or a line below it mark."""
    for pattern in (TAG, HASHES, UNDERLINED):
        if found := pattern.findall(text):
            return str(found[-1]).strip()
    return None


def stated(text: str) -> str | None:
    """Return the text after the last `answer is`, up to the end of its clause."""
    found = [one.end() for one in STATED.finditer(text)]
    return _clause(text[found[-1] :]) if found else None


def _clause(text: str) -> str:
    text = text.lstrip(TRIM + ":=")
    if (maths := MATHS.match(text)) is not None:
        inside = next(group for group in maths.groups() if group)
        after = text[maths.end() :].lstrip(" *").split("\n")[0]
        return inside.strip() if not re.match(r"(?:,|and\b|or\b)\s*[$\\\d]", after) else ""
    end = CLAUSE_END.search(text)
    return text[: end.start() if end else None].strip(TRIM).strip()


def last_line(text: str) -> str:
    """Return the last line of a text, for replies whose only answer can be there."""
    lines = text.strip().splitlines()
    line = re.sub(r"^[^:]{0,40}:\s*", "", lines[-1].strip(TRIM)) if lines else ""
    return line.strip(TRIM)


def predicates(text: str) -> Iterator[str]:
    """Yield the predicate of the last sentence and the beginning of the text, as word answers."""
    sentences = [one for one in re.split(r"[.!?。！？]\s*|\n", text) if one.strip()]
    if sentences:
        yield COPULA.sub("", sentences[-1]).strip(TRIM)
        yield re.split(r"[,:;]", sentences[0])[0].strip(TRIM)


def readable(text: str) -> str:
    """Rewrite prose so that math-verify finds its numbers: money, e-notation, wide letters."""
    text = WIDE.sub(r" \1 ", text)
    text = re.sub(r"\\\$(?=\s?[\d.])|(?<![\w$])[£€¥₹](?=\s?\d)", "", text)
    text = re.sub(r"(?<![\w(])\((-?[\d.,]*\d)\)(?!\w)", r"\1", text)
    return E_NOTATION.sub(r"$\1\\times 10^{\2}$", text)
