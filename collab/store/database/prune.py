"""What no run needs: finding it, and taking it out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from collab.errors import StoreError
from collab.store.database import Database
from collab.store.database.place import gone, place_of
from collab.store.database.tables import CHUNK, generations, needs, runs


@dataclass(frozen=True, slots=True)
class ModelGenerations:
    """Generations of one model."""

    model: str
    count: int
    tokens: int
    size: int
    """Bytes."""
    oldest: float
    """Seconds since 1970, as is `newest`."""
    newest: float


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What would go."""

    lots: Sequence[ModelGenerations]
    kept: int
    """Generations that stay."""
    runs: Sequence[str]
    """Those that need nothing any more: their folder is gone, or they were named."""
    which: sa.ColumnElement[bool]
    released: Sequence[int]

    @property
    def count(self) -> int:
        """How many generations would go."""
        return sum(lot.count for lot in self.lots)


async def doomed(
    database: Database,
    *,
    before: float | None = None,
    model: str | None = None,
    named: Sequence[Path] = (),
) -> PrunePlan:
    """Find what no run needs; a run whose folder is gone needs nothing.

    Args:
        database: A prepared one.
        before: Only what was stored before (seconds since 1970).
        model: Only models whose identity matches, such as `plain@*`.
        named: Only what these runs were given, who need nothing from now on.

    Raises:
        StoreError: No such run or model is in the store.
    """

    def work(connection: sa.Connection) -> PrunePlan:
        known = {place: one for one, place in connection.execute(sa.select(runs))}
        ours = {place_of(folder, database.url) for folder in named}
        _check("run", ours, known)
        over = {place: one for place, one in known.items() if gone(place, database.url)}
        over |= {place: known[place] for place in ours}
        limits = [~_given_to(needs.c.run.not_in(over.values()))]
        if before is not None:
            limits.append(generations.c.created < before)
        if model is not None:
            limits.append(generations.c.model.in_(_models(connection, model)))
        if ours:
            limits.append(_given_to(needs.c.run.in_([known[place] for place in ours])))
        which = sa.and_(*limits)
        lots = [
            ModelGenerations(
                row.model, row.number, int(row.tokens), int(row.size), row.oldest, row.newest
            )
            for row in connection.execute(_totals(which))
        ]
        every = sa.select(sa.func.count()).select_from(generations)
        kept = connection.execute(every).scalar_one() - sum(lot.count for lot in lots)
        return PrunePlan(lots, kept, sorted(over), which, sorted(over.values()))

    return await database.read(work)


async def remove(database: Database, what: PrunePlan) -> AsyncIterator[int]:
    """Take it out, some at a time; yield how many generations that were.

    Raises:
        StoreError: The store cannot be written; what is out stays out.
    """
    last = b""
    while keys := await database.write(partial(_remove_some, what, last)):
        yield len(keys)
        last = keys[-1]
    await database.write(partial(_release, what))
    await database.shrink()


def _remove_some(what: PrunePlan, last: bytes, connection: sa.Connection) -> Sequence[bytes]:
    some = sa.select(generations.c.key).where(what.which, generations.c.key > last)
    keys = connection.scalars(some.order_by(generations.c.key).limit(CHUNK)).all()
    connection.execute(sa.delete(generations).where(generations.c.key.in_(keys)))
    return keys


def _release(what: PrunePlan, connection: sa.Connection) -> None:
    connection.execute(sa.delete(needs).where(needs.c.run.in_(what.released)))
    connection.execute(sa.delete(runs).where(runs.c.id.in_(what.released)))


def _given_to(run: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(needs.c.key == generations.c.key, run)


def _totals(which: sa.ColumnElement[bool]) -> sa.Select[tuple[str, int, int, int, float, float]]:
    one = generations.c
    return (
        sa.select(
            one.model,
            sa.func.count().label("number"),
            sa.func.sum(one.tokens).label("tokens"),
            sa.func.sum(sa.func.length(one.body)).label("size"),
            sa.func.min(one.created).label("oldest"),
            sa.func.max(one.created).label("newest"),
        )
        .where(which)
        .group_by(one.model)
        .order_by(one.model)
    )


def _models(connection: sa.Connection, pattern: str) -> list[str]:
    every = list(connection.scalars(sa.select(generations.c.model).distinct()))
    matching = [model for model in every if fnmatchcase(model, pattern)]
    if not matching:
        _check("model", [pattern], every)
    return matching


def _check(what: str, named: Iterable[str], known: Iterable[str]) -> None:
    """Raise a StoreError if something that was named is not known."""
    if missing := sorted(set(named) - set(known)):
        there = ", ".join(map(repr, sorted(known))) or "none"
        raise StoreError(f"no {what} {missing[0]!r} is in the store ({what}s there: {there})")
