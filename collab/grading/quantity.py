"""Parse numbers, quantities, clocks and numerals of a base from the normal form of an answer.

They are compared exactly; a decimal on one side allows a relative tolerance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from collab.grading.number_words import number_of, starts_with_number
from collab.grading.units import UnitFactor, unit_of

TOLERANCE = Fraction(10_001, 100_000_000)
"""The relative error that a decimal may have: 1e-4, inclusive after rounding (0.3333 is 1/3)."""
ROUNDED = 3
"""Significant digits from which a value in e-notation is one that was measured."""
DIGITS = r"(?:\d+\.?\d*|\.\d+)"
POWER = r"(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|([+-]?\d+))"
TEN = re.compile(r"([+-]?)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|(\d))")
FRACTION = rf"\\frac\s*\{{\s*([+-]?{DIGITS})\s*\}}\s*\{{\s*([+-]?{DIGITS})\s*\}}"
HEAD = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:(?P<whole>\d+)\s*(?={chr(92) * 2}frac))?"
    rf"(?:{FRACTION}|(?P<top>{DIGITS})\s*/\s*(?P<bottom>{DIGITS})(?![\d.]|\s*/)"
    rf"|(?P<number>{DIGITS})(?:\s*{POWER})?)"
)
ABOUT = re.compile(
    r"^(?:\\approx|\\sim|~|=|«?\s*(?:about|approximately|exactly|roughly)\b\s*»?)\s*"
)
CURRENCY = re.compile(r"^([+-]?)\s*(\\\$|[£€¥₹₩]|US\\\$|USD|EUR|GBP|Rs\.?)\s*(?=[+-]?[\d.\\])")
PERCENT = re.compile(r"^(?:\\?%|«?\s*(?:percent|per ?cent|percentage points?|pct)\s*»?)")
SCALE = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
SCALED = re.compile(rf"^(«?)\s*({'|'.join(SCALE)})s?\b\s*(»?)")
ORDINAL = re.compile(r"^(?:\^\s*\{?\s*)?«?\s*(?:st|nd|rd|th)\s*»?\s*\}?(?![a-z])")
CLOCK = re.compile(
    r"(\d{1,2})(?:\s*:\s*(\d{2})(?:\s*:\s*(\d{2}))?)?"
    r"\s*([ap]\.?\s*m\.?)?(?:\s*o'clock)?"
)
NUMERAL = re.compile(
    r"\(?\s*([0-9A-Za-z.]+)\s*\)?\s*(?:_\s*(?:\{\s*)?\(?\s*(\d+|[a-z]{3,})\s*\)?(?:\s*\})?"
    r"|\s*[(\[]?(?:in )?base[- ](\d+|[a-z]+)[)\]]?)"
)
PART = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]+)")
COMPOUND = re.compile(rf"{PART.pattern}(?:\s?{PART.pattern})+")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it was written, with its unit."""

    value: Fraction
    decimal: bool = False
    """Whether it was written with a point or a power of ten."""
    digits: int = 0
    """Significant digits, of one written with a power of ten; else 0."""
    percent: bool = False
    unit: UnitFactor | None = None
    parts: tuple[UnitFactor, ...] = ()
    """The units of a compound quantity, such as hours and minutes."""


def quantity(text: str) -> Quantity | None:
    """Read all of a text (in `plain` form) as one number or quantity, None where it is more."""
    text = _unwrapped(text)
    while (about := ABOUT.match(text)) is not None and about.end():
        text = text[about.end() :]
    read = _one(text)
    if read is None:
        return None
    return _compound(text) if read[1] else read[0]


def _unwrapped(text: str) -> str:
    text = text.strip()
    for opening, closing in (("(", ")"), ("{", "}"), ("«", "»")):
        inside = text[1:-1]
        if text[:1] == opening and text[-1:] == closing and not set(inside) & {opening, closing}:
            return _unwrapped(inside) if "," not in inside else text
    return text


def _one(text: str) -> tuple[Quantity, str] | None:
    """Read one quantity from the start; return it and the rest."""
    money = CURRENCY.match(text)
    unit = unit_of(money[2]) if money else None
    text = money[1] + text[money.end() :] if money else text
    read = _number(text)
    if read is None:
        return None
    value, decimal, digits, rest = read
    if scaled := SCALED.match(rest):
        value *= SCALE[scaled[2]]
        rest = ("«" if scaled[1] and not scaled[3] else "") + rest[scaled.end() :].strip()
    if percent := PERCENT.match(rest):
        rest = rest[percent.end() :].strip()
        return Quantity(value, decimal, digits, True, unit), rest
    if ordinal := ORDINAL.match(rest):
        rest = rest[ordinal.end() :].strip()
    named = unit_of(rest) if rest else None
    rest = "" if named else rest
    return Quantity(value, decimal, digits, False, unit or named), rest


def _number(text: str) -> tuple[Fraction, bool, int, str] | None:
    if ten := TEN.match(text):
        value = _power(int(ten[2] or ten[3]))
        if value is not None:
            return (-value if ten[1] == "-" else value), False, 0, text[ten.end() :].strip()
    found = HEAD.match(text)
    if found is None:
        return _named(text)
    groups = found.groups()
    whole, numerator, denominator = found["whole"], groups[2], groups[3]
    top, bottom = numerator or found["top"], denominator or found["bottom"]
    rest = text[found.end() :].strip()
    if whole and (top is None or not top.isdigit()):
        return None
    if top is not None:
        if not Fraction(_point(bottom)):
            return None
        value, decimal, digits = Fraction(_point(top)) / Fraction(_point(bottom)), "." in top, 0
        value += int(whole or 0)
    else:
        value, decimal, digits = Fraction(_point(found["number"])), "." in found["number"], 0
        exponent = groups[-2] or groups[-1]
        if exponent is not None:
            power = _power(int(exponent))
            if power is None:
                return None
            digits = len(found["number"].replace(".", "").lstrip("0"))
            value, decimal = value * power, True
    return (-value if found["sign"] == "-" else value), decimal, digits, rest


def _point(number: str) -> str:
    return number if number[-1:] != "." else number[:-1]


def _power(exponent: int) -> Fraction | None:
    return Fraction(10) ** exponent if abs(exponent) <= 400 else None


def _named(text: str) -> tuple[Fraction, bool, int, str] | None:
    """Read number words from the start."""
    said = text.replace("«", " ").replace("»", " ").strip().lower()
    value = number_of(said)
    if value is not None:
        return value, False, 0, ""
    started = starts_with_number(said)
    return None if started is None else (started[0], False, 0, "«" + started[1] + "»")


def _compound(text: str) -> Quantity | None:
    """Add up a quantity of several units, the larger first: 3 hours and 20 minutes."""
    said = re.sub(r"«|»|\band\b|,(?!\d)", " ", text)
    said = re.sub(r"\s+", " ", said).strip()
    if not COMPOUND.fullmatch(said):
        return None
    units, total = list[UnitFactor](), Fraction(0)
    for number, name in PART.findall(said):
        unit = unit_of(f"«{name}»")
        if unit is None or not unit.known or (units and unit.kind != units[0].kind):
            return None
        if units and unit.factor >= units[-1].factor:
            return None
        units.append(unit)
        total += Fraction(number) * unit.factor
    return Quantity(total / units[0].factor, unit=units[0], parts=tuple(units))


def same(gold: Quantity, answer: Quantity) -> bool:
    """Return whether an answer is the gold quantity."""
    if gold.percent != answer.percent:
        signed, other = (gold, answer) if gold.percent else (answer, gold)
        return any(
            _close(value, other.value, gold, answer) for value in (signed.value, signed.value / 100)
        )
    left, right = gold.unit, answer.unit
    if left and right and left.known and right.known:
        factor = right.factor / (left.factor or 1)
        return left.kind == right.kind and _close(gold.value, answer.value * factor, gold, answer)
    if gold.parts or answer.parts:
        whole, bare = (answer, gold) if answer.parts else (gold, answer)
        first = whole.parts[0].factor
        values = (whole.value * first / part.factor for part in whole.parts)
        return any(_close(value, bare.value, gold, answer) for value in values)
    return _close(gold.value, answer.value, gold, answer)


def _close(gold: Fraction, answer: Fraction, one: Quantity, other: Quantity) -> bool:
    if gold == answer:
        return True
    if not (one.decimal or other.decimal) or (gold.denominator == 1 and not one.decimal):
        return False
    if abs(gold - answer) <= TOLERANCE * max(abs(gold), abs(answer)):
        return True
    return one.digits >= ROUNDED and _rounds(answer, gold, one.digits)


def _rounds(answer: Fraction, gold: Fraction, digits: int) -> bool:
    """Return whether an answer with more digits rounds to a measured value."""
    return format(float(answer), f".{digits - 1}e") == format(float(gold), f".{digits - 1}e")


def clock(text: str) -> tuple[int, bool] | None:
    """Parse a time of day: seconds since midnight, and whether morning or afternoon is given."""
    said = text.replace("«", " ").replace("»", " ").strip().lower()
    if said in ("noon", "midnight"):
        return (12 * 3600 if said == "noon" else 0), True
    found = CLOCK.fullmatch(re.sub(r"\s+", " ", re.sub(r"\s*:\s*", ":", said)))
    if found is None or (found[2] is None and found[4] is None):
        return None
    hour, minute, second = (int(found[n] or 0) for n in (1, 2, 3))
    if hour > 24 or minute > 59 or second > 59:
        return None
    if found[4]:
        hour = hour % 12 + (12 if found[4][0] == "p" else 0)
    return hour * 3600 + minute * 60 + second, found[4] is not None or hour > 12 or hour == 0


def same_time(gold: tuple[int, bool], answer: tuple[int, bool]) -> bool:
    """Compare times of day; without a. m. or p. m. on one side, its half is not known."""
    if gold[0] == answer[0]:
        return True
    unsaid = gold[1] != answer[1]
    return unsaid and (gold[0] - answer[0]) % (12 * 3600) == 0


@dataclass(frozen=True, slots=True)
class Numeral:
    """Digits in a base that was named."""

    digits: str
    base: int

    @property
    def value(self) -> Fraction | None:
        """The value; None where the digits do not fit the base."""
        try:
            return Fraction(int(self.digits, self.base))
        except ValueError:
            return None


def numeral(text: str) -> Numeral | None:
    """Read digits with their base."""
    said = text.replace("«", " ").replace("»", " ").strip()
    found = NUMERAL.fullmatch(re.sub(r"\{\s+", "{", re.sub(r"\s+", " ", said)))
    if found is None or not re.search(r"\d", found[1]):
        return None
    named = found[2] or found[3]
    base = int(named) if named.isdigit() else number_of(named)
    if base is None or not 2 <= base <= 36 or (found[1][0].isalpha() and base < 11):
        return None
    return Numeral(found[1].lstrip("0").upper() or "0", int(base))
