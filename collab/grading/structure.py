"""The outer structure of a normal form: lists, tuples, sets, and the sides of an equation."""

from __future__ import annotations

import re
from dataclasses import dataclass

OPENING, CLOSING = "([{", ")]}"
JOINT = re.compile(
    r"\s*(?:\\text\s*\{\s*(?:,?\s*(?:and|or)|,)\s*\}|(?:,|;)\s*(?:and|or)\b|\b(?:and|or)\b"
    r"|,|;|\\lor|\\vee|(?<=[\d)])(?:or|and)(?=[\dA-Z(]))\s*"
)
SET = re.compile(r"\\\{(.*)\\\}", re.DOTALL)
EQUALS = re.compile(r"(?<![<>!\\:])=(?!=)|\\approx")
SYMBOL = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?")


@dataclass(frozen=True, slots=True)
class Group:
    """Elements between brackets; a list has none."""

    opening: str
    parts: tuple[str, ...]
    closing: str

    @property
    def unordered(self) -> bool:
        """Whether the order is irrelevant, as in a list or a set."""
        return self.opening in ("", r"\{")


def split(form: str) -> list[str]:
    """Return the elements between the outermost commas, semicolons, and `and`."""
    parts, depth, start, at = list[str](), 0, 0, 0
    while at < len(form):
        joint = JOINT.match(form, at) if not depth else None
        if joint is not None and joint.end() > at and _is_joint(form, joint):
            parts.append(form[start:at])
            start = at = joint.end()
            continue
        depth += (form[at] in OPENING) - (form[at] in CLOSING)
        at += 1
    parts.append(form[start:])
    return [part.strip() for part in parts if part.strip()]


def _is_joint(form: str, joint: re.Match[str]) -> bool:
    """Keep words such as `odd or` of a text whole: a joint of letters needs spaces around it."""
    said = joint[0].strip()
    if said.isalpha() and form[max(joint.start() - 1, 0)] in "0123456789)":
        return True
    return not said.isalpha() or (joint[0] != said and not form[: joint.start()].isalpha())


def group(form: str) -> Group | None:
    """Read a tuple, an interval, a set, or a list of at least two elements."""
    form = form.strip()
    if (found := SET.fullmatch(form)) is not None and _closes(form[1:-2] + "}"):
        return Group(r"\{", tuple(split(found[1])), r"\}")
    if form[:1] in ("(", "[") and form[-1:] in (")", "]") and _closes(form):
        parts = split(form[1:-1])
        return Group(form[0], tuple(parts), form[-1]) if len(parts) > 1 else None
    parts = split(form)
    return Group("", tuple(parts), "") if len(parts) > 1 else None


def _closes(form: str) -> bool:
    """Return whether the first bracket closes at the end."""
    depth = 0
    for at, char in enumerate(form):
        depth += (char in OPENING) - (char in CLOSING)
        if depth == 0:
            return at == len(form) - 1
    return False


def sides(form: str) -> list[str]:
    """Return the sides of a chain of equations that may be its result, none where it is no chain.

    That is the last side, and each that is only approximated; the first where the last is a name.
    """
    depth, cuts = 0, [0]
    kinds = list[str]()
    for at, char in enumerate(form):
        depth += (char in OPENING) - (char in CLOSING)
        found = EQUALS.match(form, at) if not depth else None
        if found is not None:
            cuts += [at, found.end()]
            kinds.append(found[0])
    cuts.append(len(form))
    parts = [form[a:b].strip() for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    if len(parts) < 2 or ("," in form and kinds.count("=") > 1) or not all(parts[1:]):
        return []
    if SYMBOL.fullmatch(parts[-1]) and not SYMBOL.fullmatch(parts[0]):
        return [parts[-1], parts[0]]
    about = [part for part, kind in zip(parts, kinds, strict=False) if kind != "="]
    return [part for part in dict.fromkeys([parts[-1], *about]) if part]
