"""Bounds and inequalities of one variable, written as intervals."""

from __future__ import annotations

import re
from dataclasses import dataclass

VALUE = r"-?\s*(?:[\d.]+|\\frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\\sqrt\s*\{[^{}]*\}|\\pi|\\infty|e)+"
NAME = r"(?:[a-zA-Z]|\\[a-z]+|[a-zA-Z]_\w)"
LESS = r"(?:<|\\le\s?)"
MORE = r"(?:>|\\ge\s?)"
CHAIN = re.compile(rf"({VALUE})\s*({LESS})\s*({NAME})\s*({LESS})\s*({VALUE})")
FALLING = re.compile(rf"({VALUE})\s*({MORE})\s*({NAME})\s*({MORE})\s*({VALUE})")
AFTER = re.compile(rf"({NAME})?\s*({LESS}|{MORE})\s*({VALUE})")
BEFORE = re.compile(rf"({VALUE})\s*({LESS}|{MORE})\s*({NAME})")
MEMBER = re.compile(rf"({NAME})\s*\\in\s+(.+)", re.DOTALL)
BUILT = re.compile(
    rf"\\\{{\s*{NAME}\s*(?:\\in\s*\\mathbb\s*\{{?R\}}?\s*)?"
    r"(?:\\mid|\\vert|\||:)\s*(.+)\\\}",
    re.DOTALL,
)
BOTH = re.compile(r"\s*(?:«\s*and\s*»|\band\b|\\wedge|\\land|,)\s*")
EITHER = re.compile(r"\s*(?:«\s*or\s*»|\bor\b|\\vee|\\lor|\\cup)\s*")
NOUN = r"(?:\s*[a-z]+)?"
"""The counted unit."""
PHRASES = (
    (rf"(?:at least|no less than|not less than|(?:a )?minimum of)\s*({VALUE}){NOUN}", r"\ge "),
    (rf"({VALUE}){NOUN}\s*(?:or|and) (?:more|greater|above|larger|over|higher){NOUN}", r"\ge "),
    (rf"({VALUE})\s*\+", r"\ge "),
    (rf"(?:at most|no more than|not more than|up to|a maximum of)\s*({VALUE}){NOUN}", r"\le "),
    (rf"({VALUE}){NOUN}\s*(?:or|and)\s*(?:less|fewer|below|smaller|lower){NOUN}", r"\le "),
    (rf"(?:more than|greater than|larger than|over|above)\s*({VALUE}){NOUN}", ">"),
    (rf"(?:less than|fewer than|smaller than|under|below)\s*({VALUE}){NOUN}", "<"),
)


@dataclass(frozen=True, slots=True)
class Range:
    """An interval as text, and the variable that was named, if any."""

    form: str
    variable: str = ""


def as_interval(text: str) -> Range | None:
    """Parse a bound or an inequality; None for another text."""
    text = re.sub(r"\s+", " ", _phrase(text)).strip()
    if (member := MEMBER.fullmatch(text)) is not None:
        return Range(member[2].strip(), member[1])
    if (built := BUILT.fullmatch(text)) is not None:
        return as_interval(built[1])
    parts = EITHER.split(text)
    if len(parts) > 1:
        ranges = [as_interval(part) for part in parts]
        found = [one for one in ranges if one is not None]
        if len(found) < len(parts) or len({one.variable for one in found}) > 1:
            return None
        return Range(r"\cup ".join(one.form for one in found), found[0].variable)
    return _inequality(text) or _joined(BOTH.split(text))


def _phrase(text: str) -> str:
    said = text.replace("«", " ").replace("»", " ").strip()
    for pattern, sign in PHRASES:
        if (found := re.fullmatch(pattern, said, re.IGNORECASE)) is not None:
            return f"{sign}{found[1]}"
    return text


def _inequality(text: str) -> Range | None:
    if found := CHAIN.fullmatch(text):
        return _between(found[1], found[2], found[3], found[4], found[5])
    if found := FALLING.fullmatch(text):
        return _between(found[5], found[4], found[3], found[2], found[1])
    if found := AFTER.fullmatch(text):
        return _bound(found[1] or "", found[2], found[3])
    if found := BEFORE.fullmatch(text):
        turned = {"<": ">", ">": "<"}.get(found[2].strip()) or (
            r"\ge" if "le" in found[2] else r"\le"
        )
        return _bound(found[3], turned, found[1])
    return None


def _between(low: str, left: str, name: str, right: str, high: str) -> Range:
    opening, closing = "[" if "e" in left else "(", "]" if "e" in right else ")"
    return Range(f"{opening}{low.strip()},{high.strip()}{closing}", name)


def _bound(name: str, sign: str, value: str) -> Range:
    closed = "e" in sign
    if ">" in sign or "ge" in sign:
        return Range(f"{'[' if closed else '('}{value.strip()},\\infty)", name)
    return Range(rf"(-\infty,{value.strip()}{']' if closed else ')'}", name)


def _joined(parts: list[str]) -> Range | None:
    """Read two bounds that hold together: x > 1 and x < 2."""
    ranges = [_inequality(part) for part in parts] if len(parts) == 2 else []
    found = [one for one in ranges if one is not None]
    if len(found) != 2 or found[0].variable != found[1].variable:
        return None
    low, high = sorted(found, key=lambda one: one.form.startswith(r"(-\infty"))
    if low.form.startswith(r"(-\infty") or not high.form.startswith(r"(-\infty"):
        return None
    return Range(f"{low.form.split(',')[0]},{high.form.split(',')[1]}", low.variable)
