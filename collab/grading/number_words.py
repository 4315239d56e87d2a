"""Numbers written as English words: three, forty-two, one hundred and five, two thirds."""

from __future__ import annotations

import re
from fractions import Fraction

ONES = {
    name: value
    for value, name in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
            " fifteen sixteen seventeen eighteen nineteen",
        )
    )
}
TENS = {
    name: 10 * value
    for value, name in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 100,
}  # fmt: skip
SIGNS = ("negative", "minus")


def number_of(text: str) -> Fraction | None:
    """Return the value of number words, None where a text has any others."""
    words = re.findall(r"[a-z]+", text.lower())
    if not words or re.search(r"[^a-z\s,-]", text.lower()):
        return None
    sign = -1 if words[0] in SIGNS else 1
    words = words[1:] if words[0] in SIGNS else words
    part = PARTS.get(words[-1].removesuffix("s") if words else "") or PARTS.get((words or [""])[-1])
    value = _part(words, part) if part else _whole(words)
    return None if value is None else sign * value


def starts_with_number(text: str) -> tuple[Fraction, str] | None:
    """Return the value of the number words that a text begins with, and the rest, if any do."""
    words = text.split()
    for end in range(min(len(words) - 1, 8), 0, -1):
        value = number_of(" ".join(words[:end]))
        if value is not None and words[end - 1] not in ("and", "a", "an"):
            return value, " ".join(words[end:])
    return None


def _part(words: list[str], part: int) -> Fraction | None:
    """Read "two thirds", "one half", "a quarter", "three and a half"."""
    words = words[:-1]
    if "and" in words[1:-1] and words[-1] not in ("a", "an", "one"):
        cut = words.index("and")
        whole, above = _whole(words[:cut]), _whole(words[cut + 1 :])
        return None if whole is None or above is None else whole + above / part
    if words[-1:] in (["a"], ["an"], ["one"]) and words[-2:-1] == ["and"]:
        whole = _whole(words[:-2])
        return None if whole is None else whole + Fraction(1, part)
    above = Fraction(1) if words in ([], ["a"], ["an"]) else _whole(words)
    return None if above is None else above / part


def _whole(words: list[str]) -> Fraction | None:
    total = group = 0
    read = False
    for word in words:
        if word in ONES or word in TENS:
            group += ONES.get(word, 0) + TENS.get(word, 0)
        elif word == "hundred":
            group = (group or 1) * 100
        elif word == "dozen":
            group = (group or 1) * 12
        elif word in SCALES:
            total, group = total + (group or 1) * SCALES[word], 0
        elif word == ("and" if read else "a"):
            continue
        else:
            return None
        read = True
    return Fraction(total + group) if read else None
