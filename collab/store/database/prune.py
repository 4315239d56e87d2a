"""Find the generations that no run needs, and remove them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from collab.errors import StoreError
from collab.store.database import Database
from collab.store.database.place import is_gone, place_of
from collab.store.database.tables import CHUNK, generations, needs, runs


@dataclass(frozen=True, slots=True)
class ModelGenerations:
    """The unneeded generations of one model."""

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
    """The generations that would be removed."""

    lots: Sequence[ModelGenerations]
    kept: int
    """The number of generations that stay."""
    runs: Sequence[str]
    """Runs that no longer need anything: their folder is gone, or the user named them."""
    which: sa.ColumnElement[bool]
    released: Sequence[int]

    @property
    def count(self) -> int:
        """The number of generations that would be removed."""
        return sum(lot.count for lot in self.lots)


async def find_unneeded(
    database: Database,
    *,
    before: float | None = None,
    model: str | None = None,
    named: Sequence[Path] = (),
) -> PrunePlan:
    """Find the generations that no run needs. A run whose folder is gone needs none.

    Args:
        database: A database after `prepare`.
        before: Find only generations that were stored earlier (seconds since 1970).
        model: Find only generations of models whose identity matches, such as `plain@*`.
        named: Find only generations of these runs, which need none from now on.

    Raises:
        StoreError: A named run or model is not in the store.
    """

    def work(connection: sa.Connection) -> PrunePlan:
        known = {place: number for number, place in connection.execute(sa.select(runs))}
        ours = {place_of(folder, database.url) for folder in named}
        _check("run", ours, known)
        over = {place: known[place] for place in known if is_gone(place, database.url)}
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


async def remove(database: Database, plan: PrunePlan) -> AsyncIterator[int]:
    """Remove the planned generations in chunks; yield the size of each chunk.

    Raises:
        StoreError: The store cannot be written; the chunks that were removed stay removed.
    """
    last = b""
    while keys := await database.write(partial(_remove_some, plan, last)):
        yield len(keys)
        last = keys[-1]
    await database.write(partial(_release, plan))
    await database.shrink()


def _remove_some(plan: PrunePlan, last: bytes, connection: sa.Connection) -> Sequence[bytes]:
    some = sa.select(generations.c.key).where(plan.which, generations.c.key > last)
    keys = connection.scalars(some.order_by(generations.c.key).limit(CHUNK)).all()
    connection.execute(sa.delete(generations).where(generations.c.key.in_(keys)))
    return keys


def _release(plan: PrunePlan, connection: sa.Connection) -> None:
    connection.execute(sa.delete(needs).where(needs.c.run.in_(plan.released)))
    connection.execute(sa.delete(runs).where(runs.c.id.in_(plan.released)))


def _given_to(run: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(needs.c.key == generations.c.key, run)


def _totals(which: sa.ColumnElement[bool]) -> sa.Select[tuple[str, int, int, int, float, float]]:
    columns = generations.c
    return (
        sa.select(
            columns.model,
            sa.func.count().label("number"),
            sa.func.sum(columns.tokens).label("tokens"),
            sa.func.sum(sa.func.length(columns.body)).label("size"),
            sa.func.min(columns.created).label("oldest"),
            sa.func.max(columns.created).label("newest"),
        )
        .where(which)
        .group_by(columns.model)
        .order_by(columns.model)
    )


def _models(connection: sa.Connection, pattern: str) -> list[str]:
    every = list(connection.scalars(sa.select(generations.c.model).distinct()))
    matching = [model for model in every if fnmatchcase(model, pattern)]
    if not matching:
        _check("model", [pattern], every)
    return matching


def _check(what: str, named: Iterable[str], known: Iterable[str]) -> None:
    """Raise a StoreError if a name is not known."""
    if missing := sorted(set(named) - set(known)):
        known_names = ", ".join(map(repr, sorted(known))) or "none"
        raise StoreError(f"{what} {missing[0]!r} is not in the store ({what}s: {known_names})")
