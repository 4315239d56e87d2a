"""Published numbers, as data: what the paper's tables print, with their n and their errata.

Source: "Off-Trajectory Reasoning: Can LLMs Collaborate on Reasoning Trajectories?", tables 1, 2 and
4 to 17 (by order of appearance; the third is a prompt). The n of a cell is not printed there; it is
what the cells are multiples of: 200 a point on the shared subset, 250 on the individual one, 345 a
share for shared guidability. Where none fits, there is none.
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
    """What it is a percentage of, or in table 13 a count of: recoverability, guidability, …"""
    by: str
    """The factor that makes the columns: `at`, `length`, `solved`, `guide`, …"""
    level: str
    """The factor's value, or `mean` over the columns."""
    value: float
    """In per cent; in table 13 a count."""
    n: int | None
    """Episodes behind it, where they can be told."""
    note: str
    """What is wrong with it in print; empty where nothing is known to be."""

    def compared(self, ours: Rate | Mean) -> Effect | None:
        """Test whether our share differs from the printed one; None where its n is unknown.

        Two equal truths lie outside each other's intervals far more often than one time in twenty,
        so it is the difference that is tested.
        """
        if self.n is None:
            return None
        return difference(ours, Rate(round(self.value * self.n / 100), self.n))


def published(
    table: int | None = None, *, model: str | None = None, measure: str | None = None
) -> list[Published]:
    """Return the numbers of a table, of a model or of a measure, in the order of print."""
    return [
        number
        for number in _all()
        if table in (None, number.table)
        and model in (None, number.model)
        and measure in (None, number.measure)
    ]


@cache
def _all() -> tuple[Published, ...]:
    return tuple(_read())


def _read() -> Iterator[Published]:
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
