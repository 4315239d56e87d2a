"""What published systems claim, as data: which way a measure goes against which baseline.

The numbers are of other models and benchmarks than ours, so it is the direction that is compared:
a claim is met where our whole interval lies on its side, missed where all of it lies on the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

Measure = Literal["solved", "tokens", "seconds"]
Sense = Literal["more", "less", "same"]
Meets = Literal["agrees", "disagrees", "undecided"]
SAME = 0.05
"""How far apart two shares may lie to be called the same: ours; a published one is as printed."""


@dataclass(frozen=True, slots=True)
class SystemClaim:
    """One claim of a published system."""

    system: str
    measure: Measure
    """The share solved, or what an episode takes."""
    against: str
    """The arm of a collaboration that plays what the system is compared with."""
    sense: Sense
    printed: str
    """The published numbers, in words."""
    source: str

    def met(self, low: float, high: float) -> Meets:
        """Say whether an interval of ours, of the difference or the change, bears a claim out."""
        if self.sense == "same":
            inside, outside = low >= -SAME and high <= SAME, high < -SAME or low > SAME
        elif self.sense == "more":
            inside, outside = low > 0, high < 0
        else:
            inside, outside = high < 0, low > 0
        return "agrees" if inside else "disagrees" if outside else "undecided"


def systems() -> list[str]:
    """Name the systems of which claims are known."""
    return list(dict.fromkeys(claim.system for claim in _all()))


def claims(system: str) -> list[SystemClaim]:
    """Return a system's claims; none of one that is unknown."""
    return [claim for claim in _all() if claim.system == system]


@cache
def _all() -> tuple[SystemClaim, ...]:
    return tuple(_read())


def _read() -> Iterator[SystemClaim]:
    with (files("collab.analysis.published") / "systems.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            measure = next(one for one in get_args(Measure) if one == row["measure"])
            sense = next(one for one in get_args(Sense) if one == row["sense"])
            yield SystemClaim(
                row["system"], measure, row["against"], sense, row["printed"], row["source"]
            )
