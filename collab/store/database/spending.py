"""A run's spending, written in the same transaction as the generations that it pays for.

Each start of a run has one row per seat, with the total that the start has spent so far. So a
transaction that is repeated, because its confirmation was lost, counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from importlib import import_module
from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy as sa

from collab.core.cost import Cost
from collab.store.database.tables import spent

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert  # PostgreSQL's has the same methods

Payment = tuple[str, Cost]
"""A seat, and the cost that it has paid."""
COUNTED = tuple(field.name for field in fields(Cost))


class Spending:
    """The spending of one start of a run, by seat.

    Args:
        run: The id of the run that pays; empty: record no spending.
        dialect: SQLAlchemy's name for the kind of database.
    """

    def __init__(self, run: str, dialect: str) -> None:
        self.run = run
        self._start = uuid4().hex
        self._kept: dict[str, Cost] = {}
        self._statement = _upsert(dialect) if run else None

    def due(self, payments: Iterable[Payment]) -> dict[str, Cost]:
        """Return the totals of the seats that pay now, including these payments."""
        total: dict[str, Cost] = {}
        for seat, cost in payments:
            total[seat] = total.get(seat, self._kept.get(seat, Cost())) + cost
        return total

    def write(self, connection: sa.Connection, due: Mapping[str, Cost]) -> None:
        """Write the totals of `due` in the current transaction."""
        if due and self._statement is not None:
            start = {"run": self.run, "start": self._start}
            rows = [{**start, "seat": seat, **asdict(cost)} for seat, cost in sorted(due.items())]
            connection.execute(self._statement, rows)

    def note(self, due: Mapping[str, Cost]) -> None:
        """Remember the totals that a committed transaction has written."""
        self._kept |= due

    def read(self, connection: sa.Connection) -> dict[str, Cost]:
        """Return what all starts of the run have spent, by seat."""
        sums = [sa.func.sum(spent.c[name]) for name in COUNTED]
        ours = sa.select(spent.c.seat, *sums).where(spent.c.run == self.run)
        rows = connection.execute(ours.group_by(spent.c.seat).order_by(spent.c.seat))
        return {seat: _cost(*counts) for seat, *counts in rows}


def _cost(
    draws: int,
    prompt: int,
    cached: int,
    completion: int,
    seconds: float,
    money: float,
    flops: float,
) -> Cost:
    """Build a cost from sums, which PostgreSQL returns as decimals."""
    whole = int(draws), int(prompt), int(cached), int(completion)
    return Cost(*whole, float(seconds), float(money), float(flops))


def _upsert(dialect: str) -> Insert:
    insert: Insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(spent)
    counted = {name: insert.excluded[name] for name in COUNTED}
    return insert.on_conflict_do_update(index_elements=list(spent.primary_key), set_=counted)
