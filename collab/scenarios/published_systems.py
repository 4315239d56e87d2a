"""Claims of published systems, as data: the direction of a measure against a baseline.

The published numbers are of other models and benchmarks, so only the direction is compared. A claim
is met if the whole interval of the difference lies on its side, and missed if the whole interval
lies on the other side.
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
"""Largest difference between two equal shares. It is ours; the published shares are as printed."""


@dataclass(frozen=True, slots=True)
class SystemClaim:
    """One claim of a published system."""

    system: str
    measure: Measure
    """The share solved, or the cost of an episode."""
    against: str
    """The arm that plays the baseline of the claim."""
    sense: Sense
    printed: str
    """The published numbers, in words."""
    source: str

    def met(self, low: float, high: float) -> Meets:
        """Compare the interval of a difference or change with the claim."""
        if self.sense == "same":
            inside, outside = low >= -SAME and high <= SAME, high < -SAME or low > SAME
        elif self.sense == "more":
            inside, outside = low > 0, high < 0
        else:
            inside, outside = high < 0, low > 0
        return "agrees" if inside else "disagrees" if outside else "undecided"


def systems() -> list[str]:
    """Return the systems with known claims."""
    return list(dict.fromkeys(claim.system for claim in _all()))


def claims(system: str) -> list[SystemClaim]:
    """Return the claims of a system; empty for an unknown system."""
    return [claim for claim in _all() if claim.system == system]


@cache
def _all() -> tuple[SystemClaim, ...]:
    return tuple(_load())


def _load() -> Iterator[SystemClaim]:
    with (files("collab.analysis.published") / "systems.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            measure = next(one for one in get_args(Measure) if one == row["measure"])
            sense = next(one for one in get_args(Sense) if one == row["sense"])
            yield SystemClaim(
                row["system"], measure, row["against"], sense, row["printed"], row["source"]
            )
