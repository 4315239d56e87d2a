r"""The ends of sentences in reasoning text: prose between formulas, code and lists.

A mark such as `.` ends a sentence if white space follows. Exceptions are found from the text before
the mark and, where the text goes on, from what follows. A text that is still being written may
break off after the mark: then the more frequent reading applies.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

CLOSERS = "\"'”’)\\]*_»"
"""Quotes, brackets and emphasis that close after a mark and belong to its sentence."""
WIDE_CLOSERS = "」』”’）】》〉*_"
_END = re.compile(
    rf"(?P<mark>\.{{2,}}|[.!?…])[{CLOSERS}]*(?:\n+|(?=[ \t]))"
    rf"|(?P<wide>[。！？｡]+)[{WIDE_CLOSERS}]*\n*"
    r"|\n{2,}"
)
_REGION = re.compile(
    r"(?P<fence>^[ \t]*(?:```|~~~))"
    r"|(?P<display>\\\[)|(?P<inline>\\\()|(?P<dollars>\$\$)"
    r"|(?P<environment>\\begin\{(?P<name>[a-zA-Z*]+)\})"
    r"|(?P<dollar>(?<![\\\w$])\$(?=[^\s$]))"
    r"|(?P<code>`(?=[^`\s]))",
    re.MULTILINE,
)
CLOSES = {"display": r"\]", "inline": r"\)", "dollars": "$$"}
_BLANK = re.compile(r"\n[ \t]*\n")
_FENCE_END = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*$", re.MULTILINE)
_DOLLAR_END = re.compile(r"(?<=[^\s\\])\$(?![\w$])")
LONGEST_INLINE = 300
"""The most characters of a formula between single dollars."""
_MONEY = re.compile(r"\$\d[\d,.]*(?![\w\\^_])")
_LIST_MARK = re.compile(r"[ \t]*(?:(?:[-*#>]+|\*\*)[ \t]*)*\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})")
"""What a line has before the full stop of a number or letter of a list."""
ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "mt", "ltd", "inc", "dept", "est"),
        *("vs", "e.g", "i.e", "cf", "viz", "approx", "resp", "incl", "ca", "ed", "eds", "vol"),
        *("fig", "figs", "eq", "eqs", "eqn", "sec", "thm", "lem", "prop", "def", "cor", "rem"),
        *("w.r.t", "s.t", "w.l.o.g", "u.s", "u.k", "ph.d", "suppl"),
    )
)
"""Abbreviations that end no sentence."""
NUMBERED = frozenset(
    ("no", "nos", "p", "pp", "ch", "art", "ex", "chap", "par", "pt", "step", "case")
)
"""Abbreviations and words that end no sentence before a number."""
MID = frozenset(("etc", "a.m", "p.m", "al"))
"""Abbreviations that end a sentence unless a small letter or a comma follows."""
_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*$")
_SIZED = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)$")
_FACTOR = re.compile(r"(?:\d|\)|\]|\}|(?<![A-Za-z])[a-zA-Z])$")
_DISPLAY = re.compile(r"[ \t]*(?:\\\[|\$\$|\\begin\{)")
MARKS = frozenset(".!?…。！？*)]}$`|")
OPERATORS = frozenset("+-−–*/=<>≤≥≠≈^·×÷|&,;)]}∈⇒→")
OPENERS = OPERATORS | {"(", "[", "{"} - {")", "]", "}"}
LOOKBACK = 40
"""How many characters before a mark are read for an abbreviation."""


def sentence_ends(text: str) -> Iterator[int]:
    r"""Yield the sentence ends of a text, line breaks included (characters).

    Examples:
        >>> from collab.core.sentences import sentence_ends
        >>> [*sentence_ends("By Eq. 3, 3! = 6. So \\(x. y\\) it is.\n")]
        [17, 37]
    """
    regions = _regions(text)
    starts = [start for start, _ in regions]
    for found in _END.finditer(text):
        at = found.start()
        place = bisect_right(starts, at) - 1
        if place >= 0 and at < regions[place][1]:
            continue
        if _ends(text, found):
            yield found.end()


def _regions(text: str) -> list[tuple[int, int]]:
    """Return the spans of formulas and code, in order; an open one reaches to the text's end."""
    spans: list[tuple[int, int]] = []
    at = 0
    while (found := _REGION.search(text, at)) is not None:
        end = _region_end(text, found)
        if end is not None:
            spans.append((found.start(), end))
        at = max(end or 0, found.end())
    return spans


def _region_end(text: str, found: re.Match[str]) -> int | None:
    """Return where a formula or code ends; None if the mark opens none."""
    start = found.end()
    match found.lastgroup if found["environment"] is None else "environment":
        case "fence":
            close = _FENCE_END.search(text, start)
            return close.end() if close else len(text)
        case "dollar":
            return _dollar_end(text, found.start())
        case "code":
            line = text.find("\n", start)
            close_at = text.find("`", start, line if line >= 0 else len(text))
            return close_at + 1 if close_at >= 0 else None
        case "environment":
            return _until(text, start, rf"\end{{{found['name']}}}")
        case kind:
            return _until(
                text, start, {"display": r"\]", "inline": r"\)", "dollars": "$$"}[str(kind)]
            )


def _until(text: str, start: int, close: str) -> int:
    """Return the end of a formula: its close, or without one the next blank line or the end."""
    end = text.find(close, start)
    if end >= 0:
        return end + len(close)
    blank = _BLANK.search(text, start)
    return blank.start() if blank else len(text)


def _dollar_end(text: str, start: int) -> int | None:
    """Return the end of a formula between single dollars; None for an amount of money."""
    blank = _BLANK.search(text, start, start + LONGEST_INLINE)
    stop = blank.start() if blank else min(start + LONGEST_INLINE, len(text))
    close = _DOLLAR_END.search(text, start + 1, stop)
    money = _MONEY.match(text, start)
    if close and not (money and _MONEY.match(text, close.start())):
        return close.end()
    written = stop == len(text) and "\n" not in text[start:]
    return len(text) if written and not money else None


def _ends(text: str, found: re.Match[str]) -> bool:
    """Tell whether a mark or a blank line outside of formulas ends a sentence."""
    if found["wide"]:
        return True
    before = text[max(found.start() - LOOKBACK, 0) : found.start()]
    if not found["mark"]:
        return not _leads_on(before, text[found.end() : found.end() + LOOKBACK])
    if found.group().endswith("\n"):
        return not _SIZED.search(before)
    after = text[found.end() :][:LOOKBACK].lstrip(" \t")
    following = after[:1]
    if found["mark"] == "!":
        return not _FACTOR.search(before) or following.isupper()
    if found["mark"] == "." and following in OPERATORS:
        return False
    if found["mark"] == ".":
        return not _is_inner_stop(text, found.start(), before, after)
    return found["mark"] == "?" or not _in_formula(before, following)


def _leads_on(before: str, after: str) -> bool:
    """Tell whether a blank line is in the middle of a sentence, before its formula or list."""
    last = before.rstrip(" \t*_")[-1:]
    return last in {":", "：", ","} or (last not in MARKS and _DISPLAY.match(after) is not None)


def _is_inner_stop(text: str, at: int, before: str, after: str) -> bool:
    """Tell whether a full stop belongs to an abbreviation, a list's number or a bracket."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:at]
    listed = _LIST_MARK.fullmatch(line) if len(line) <= LOOKBACK else None
    if listed and (start or not line[-1:].isupper()):
        return True
    if _SIZED.search(before):
        return True
    found = _WORD.search(before)
    word = found[0].casefold() if found else ""
    if word in NUMBERED:
        return after[:1].isdigit()
    if word in MID:
        return after[:1].islower() or (word == "al" and not after[:1].isupper())
    return word in ABBREVIATIONS


def _in_formula(before: str, following: str) -> bool:
    """Tell whether an ellipsis stands for the middle of a sum, a product or a list."""
    last = before.rstrip()[-1:]
    between_numbers = last.isdigit() and following.isdigit()
    return last in OPENERS or following in OPERATORS - {""} or between_numbers
