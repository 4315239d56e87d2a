"""Units after a number: known ones have a kind and a factor; any other noun is a label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

KINDS: dict[str, dict[str, str]] = {
    "time": {
        "1": "s sec secs second seconds", "60": "min mins minute minutes",
        "3600": "h hr hrs hour hours", "86400": "day days", "604800": "week weeks",
        "1/1000": "ms millisecond milliseconds", "1/1000000": "μs microsecond microseconds",
    },
    "length": {
        "1": "m meter meters metre metres",
        "1/100": "cm centimeter centimeters centimetre centimetres",
        "1/1000": "mm millimeter millimeters millimetre millimetres",
        "1000": "km kilometer kilometers kilometres",
        "0.0254": "in inch inches", "0.3048": "ft foot feet", "0.9144": "yd yard yards",
        "1609.344": "mi mile miles", "1/1000000": "μm micrometers", "1/1000000000": "nm nanometers",
    },
    "mass": {
        "1": "g gram grams", "1000": "kg kilogram kilograms", "1/1000": "mg milligrams",
        "453.59237": "lb lbs pound pounds", "28.349523125": "oz ounce ounces",
    },
    "volume": {"1": "L l liter liters litre litres", "1/1000": "mL ml milliliter milliliters"},
    "angle": {r"1": r"\circ degree degrees deg", "1/60": "arcminutes", "0": "rad radian radians"},
    "dollar": {"1": r"\$ dollar dollars USD US\$ bucks", "1/100": "cent cents"},
    "euro": {"1": "€ euro euros EUR"},
    "sterling": {"1": "£ GBP"},
    "rupee": {"1": "₹ rupee rupees Rs"},
    "yen": {"1": "¥ yen"},
    "force": {"1": "N newton newtons"}, "energy": {"1": "J joule joules", "1000": "kJ"},
    "power": {"1": "W watt watts", "1000": "kW"}, "voltage": {"1": "V volt volts"},
    "temperature": {"1": "K kelvin"}, "celsius": {"1": "celsius"},
    "fahrenheit": {"1": "fahrenheit"},
    "resistance": {"1": "Ω ohm ohms"},
    "frequency": {"1": "Hz hertz", "1000": "kHz", "1000000": "MHz"},
}  # fmt: skip
TABLE = {
    name: (kind, Fraction(factor))
    for kind, factors in KINDS.items()
    for factor, names in factors.items()
    for name in names.split()
}
LABELS = re.compile(r"[A-Za-zÅåÄäÖöÜüßéèΩ][\w'-]*(?: (?:of |per )?[A-Za-zÅÄÖÜäöüßéè][\w'-]*){0,4}")
SPEECH = frozenset(
    re.findall(
        r"\w+",
        "is are was were be not no never or and if when where with wrong incorrect false true than"
        " more less greater fewer least most over under above below about only but because so"
        " times mod factorial plus minus divided squared cubed for each undefined infinity prob"
        " pi sqrt log ln sin cos tan base up down between either neither i we it that this"
        " million billion thousand trillion hundred dozen half am pm which cannot isn doesn",
    )
)
"""Words that make a phrase more than a unit."""
POWER = re.compile(r"\^\s*\{?\s*(-?\d)\s*\}?")


@dataclass(frozen=True, slots=True)
class UnitFactor:
    """A unit; one that is not known has an empty kind."""

    kind: str
    factor: Fraction = Fraction(1)

    @property
    def known(self) -> bool:
        """Whether it can be converted."""
        return self.kind != ""


@lru_cache(maxsize=4096)
def unit_of(text: str) -> UnitFactor | None:
    """Read all of a text as a unit, None where it is something else."""
    text = re.sub(r"\\Omega(?![A-Za-z])", "Ω", re.sub(r"\\mu\s*(?:«\s*)?(?=[a-zA-Z])", "«μ", text))
    upright = "«" in text or "/" in text or len(text.strip()) > 1
    said = re.sub(r"[«»{}]", " ", text.replace(r"^{\circ}", r"\circ").replace(r"^\circ", r"\circ"))
    said = re.sub(r"\s*\^\s*", "^", re.sub(r"\s+", " ", said)).strip(" .")
    said = re.sub(r"(?:\\circ|degrees?) ?C(elsius)?$", "celsius", said)
    said = re.sub(r"(?:\\circ|degrees?) ?F(ahrenheit)?$", "fahrenheit", said)
    said = re.sub(r"^(sq(?:uare)?\.?) ([A-Za-z]+)$", r"\2^2", said)
    said = re.sub(r"^(cu(?:bic)?\.?) ([A-Za-z]+)$", r"\2^3", said)
    if known := _known(re.sub(r" per ", "/", said)):
        return known if upright or known.kind == "dollar" or not said.isalpha() else None
    words = re.sub(r"\^\s*-?\d$", "", said)
    if not LABELS.fullmatch(words) or SPEECH & set(re.findall(r"[a-z]+", words.lower())):
        return None
    return UnitFactor("") if "«" in text or len(words) > 3 else None


def _known(said: str) -> UnitFactor | None:
    factor, kinds = Fraction(1), dict[str, int]()
    for place, side in enumerate(said.split("/")):
        for piece in re.split(r"\\cdot|\*| ", side.strip()):
            name, _, power = piece.partition("^")
            if not piece or name not in TABLE or not re.fullmatch(r"-?\d?", power):
                return None
            times = int(power or 1) * (-1 if place else 1)
            kind, size = TABLE[name]
            kinds[kind] = kinds.get(kind, 0) + times
            factor *= size**times if size else 1
    return UnitFactor("·".join(f"{kind}^{n}" for kind, n in sorted(kinds.items()) if n), factor)
