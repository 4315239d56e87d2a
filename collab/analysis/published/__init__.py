"""The numbers in the paper's tables, with their n and errata, as data.

Source: "Off-Trajectory Reasoning: Can LLMs Collaborate on Reasoning Trajectories?", tables 1, 2 and
4 to 17 (by order of appearance; the third is a prompt). The paper does not print the n of its
cells. It follows from the number that the cells are multiples of: 200 per point on the shared
subset, 250 on the individual one, 345 per share for shared guidability. If no number fits, n is
None.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice

from collab.analysis.stats import Effect, Mean, Rate, difference


@dataclass(frozen=True, slots=True)
class Published:
    """One printed number."""

    table: int
    domain: str
    """`maths` or `code`."""
    subset: str
    """`shared` (questions all models solve, or fail), `individual`, or empty."""
    model: str
    measure: str
    """What the percentage measures, or in table 13 the count: recoverability, guidability, …"""
    by: str
    """The factor whose values are the columns: `at`, `length`, `solved`, `guide`, …"""
    level: str
    """The factor's value, or `mean` over the columns."""
    value: float
    """In per cent; in table 13 a count."""
    n: int | None
    """Episodes of the cell, if known."""
    note: str
    """The erratum of the printed number; empty if none is known."""

    def compared(self, ours: Rate | Mean) -> Effect | None:
        """Test our share against the printed one; None if its n is unknown.

        The test is of the difference. Two equal shares lie outside each other's intervals far more
        often than one time in twenty.
        """
        if self.n is None:
            return None
        return difference(ours, Rate(round(self.value * self.n / 100), self.n))


def published(
    table: int | None = None, *, model: str | None = None, measure: str | None = None
) -> list[Published]:
    """Return the numbers of a table, for one model or one measure, in printed order."""
    return [
        number
        for number in _all()
        if table in (None, number.table)
        and model in (None, number.model)
        and measure in (None, number.measure)
    ]


@cache
def _all() -> tuple[Published, ...]:
    return tuple(_load())


def _load() -> Iterator[Published]:
    with (files("collab.analysis.published") / "paper.csv").open(encoding="utf-8") as file:
        for table, *where, value, n, note in csv.reader(islice(file, 1, None)):
            domain, subset, model, measure, by, level = where
            yield Published(
                table=int(table),
                domain=domain,
                subset=subset,
                model=model,
                measure=measure,
                by=by,
                level=level,
                value=float(value),
                n=int(n) if n else None,
                note=note,
            )
