"""The database of the store, and the one transaction that changes it.

SQLite (WAL) or PostgreSQL, by the same statements.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from collab.core.cost import Cost
from collab.core.sampling import Generation
from collab.errors import StoreError
from collab.store.database.bell import DrawListener, ring
from collab.store.database.claims import claims_on, release, renew, take, void
from collab.store.database.owner import Owner
from collab.store.database.packing import pack, pack_key, unpack, unpack_key
from collab.store.database.place import clearly, name_of, passing, place_of, pool_of, url_of
from collab.store.database.pool import PostgresPool, ResultT, Work
from collab.store.database.spending import Payment, Spending
from collab.store.database.tables import (
    chunks,
    claims,
    generations,
    insert_new,
    needs,
    runs,
    upgrade,
)

PAUSES = (0.1, 0.4, 1.0, 3.0, 10.0)
"""Seconds between attempts while a database server is away."""
Bodies = dict[bytes, bytes]
Notify = Callable[[str], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A generation to be kept, with what it is a draw of."""

    key: str
    model: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one caller wants of the next transaction, done in this order."""

    keep: tuple[StoredRow, ...] = ()
    """Stored unless the key is there: the first one stands."""
    claim: tuple[str, ...] = ()
    """Keys to sample from now on, where nobody has stored or claimed them."""
    drop: tuple[str, ...] = ()
    """Claims to give up."""
    need: tuple[str, ...] = ()
    """Stored generations to note as needed by the run."""
    paid: tuple[Payment, ...] = ()
    """What seats of the run have paid for what is kept."""
    renew: bool = False
    """Whether to prolong the owner's other claims."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """What stands in the store of the keys that were named."""

    found: dict[str, Generation]
    held: frozenset[str] = frozenset()
    """Those that the owner has claimed."""
    busy: frozenset[str] = frozenset()
    """Those that somebody else is sampling."""
    unnoted: frozenset[str] = frozenset()
    """Those found that are not yet noted as needed by the run."""


class Database:
    """One store's connection pool.

    Args:
        where: A path or an SQLAlchemy URL.
        run: The folder of the run whose needs are noted, if any.
        heard: Told the key of each draw that another process kept or gave up, where that is heard.
        payer: The id of the run whose spending is kept; empty: nobody's is.
    """

    def __init__(
        self,
        where: str | Path,
        run: Path | None = None,
        heard: Callable[[str], None] = lambda _: None,
        payer: str = "",
    ) -> None:
        self.url = url_of(where)
        on_disk = self.url.get_backend_name() == "sqlite"
        self._name = name_of(self.url)
        self.patience = 1.0 if on_disk else 10.0
        """The longest that a waiting caller should pause before it looks again (seconds)."""
        self._owner = Owner.here()
        self._place = place_of(run, self.url) if run else None
        self._run: int | None = None
        self._spending = Spending(payer, self.url.get_backend_name())
        with self._clearly():
            self._pool = pool_of(self.url)
        self._bell = (
            DrawListener(self._pool.engine, heard) if isinstance(self._pool, PostgresPool) else None
        )
        self._ahead = 0.0

    async def prepare(self, now: float, tell: Notify = lambda said: None) -> None:
        """Make the tables, or bring older ones up to date; clear claims that have lapsed.

        `tell` is told that a server that is away is waited for, and "" when that is over.

        Raises:
            StoreError: It is no database, cannot be written, or a newer collab made it.
        """

        def work(connection: sa.Connection) -> None:
            upgrade(connection, self._name)
            if self._bell:
                clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
                self._ahead = float(connection.execute(clock).scalar_one()) - now
            lapsed = claims.c.expires < now + self._ahead
            connection.execute(sa.delete(claims).where(lapsed))
            if self._place:
                connection.execute(insert_new(connection, runs), {"place": self._place})
                ours = sa.select(runs.c.id).where(runs.c.place == self._place)
                self._run = connection.execute(ours).scalar_one()

        await self._lasting(lambda: self.write(work), tell)
        await self.listen()

    async def listen(self) -> None:
        """Hear of other processes' draws, where the database can tell; again if that broke off."""
        if self._bell:
            await self._bell.listen()

    async def close(self) -> None:
        """Close the connections."""
        if self._bell:
            await self._bell.close()
        await self._pool.close()

    async def look_up(self, groups: Sequence[Iterable[str]], now: float) -> StoreState:
        """Read the generations of all these keys, and who is sampling the others."""
        keys = sorted({pack_key(key) for keys in groups for key in keys})

        def work(connection: sa.Connection) -> tuple[Bodies, set[bytes], set[bytes]]:
            bodies, unnoted = self._bodies(connection, keys)
            found = claims_on(connection, [key for key in keys if key not in bodies])
            return bodies, unnoted, found.keys() - void(found, self._owner, now + self._ahead)

        bodies, unnoted, busy = await self._lasting(lambda: self.read(work))
        found = await _unpacked(bodies)
        return StoreState(found, busy=_names(busy), unnoted=_names(unnoted))

    async def commit(
        self, changes: Sequence[Transaction], now: float, expires: float
    ) -> StoreState:
        """Make the changes in one transaction.

        What stands after it: the owner has no claim on a key that is stored.
        """
        kept = {pack_key(row.key): row for change in changes for row in change.keep}
        asked = {pack_key(key) for change in changes for key in change.claim}
        dropped = {pack_key(key) for change in changes for key in change.drop}
        needed = {pack_key(key) for change in changes for key in change.need}
        due = self._spending.due(one for change in changes for one in change.paid)
        new = await asyncio.to_thread(_columns, kept, now + self._ahead) if kept else []

        def work(connection: sa.Connection) -> tuple[set[bytes], Bodies, frozenset[bytes]]:
            ours = _keep(connection, new)
            there, then = now + self._ahead, expires + self._ahead
            held = take(connection, sorted(asked), self._owner, there, then)
            bodies, _ = self._bodies(connection, sorted((asked | kept.keys()) - ours))
            self._note(connection, ours | bodies.keys() | needed)
            self._spending.write(connection, due)
            release(connection, dropped | ours | bodies.keys(), self._owner)
            if any(change.renew for change in changes):
                renew(connection, self._owner, then)
            if self._bell:
                ring(connection, _names(dropped | kept.keys()))
            return ours, bodies, held - bodies.keys()

        ours, bodies, held = await self._lasting(lambda: self.write(work))
        self._spending.note(due)
        found = await _unpacked(bodies)
        fresh = {
            row.key: replace(row.generation, key=row.key) for row in map(kept.get, ours) if row
        }
        return StoreState(found | fresh, held=_names(held))

    async def read(self, work: Work[ResultT]) -> ResultT:
        """Do some work that reads; it is a function of a connection."""
        with self._clearly():
            return await self._pool.do(work, writes=False)

    async def write(self, work: Work[ResultT]) -> ResultT:
        """Do some work that writes, in one transaction."""
        with self._clearly():
            return await self._pool.do(work, writes=True)

    async def spent(self) -> dict[str, Cost]:
        """Return what all starts of the run that pays have spent, by seat."""
        return await self.read(self._spending.read)

    async def versions(self) -> dict[str, dict[str, int]]:
        """Count what the run was given, by model and by what servers called it."""
        columns = generations.c.model, generations.c.served
        counted = sa.select(*columns, sa.func.count()).join(needs, needs.c.key == generations.c.key)
        ours = counted.where(needs.c.run == self._run).group_by(*columns).order_by(*columns)
        found: dict[str, dict[str, int]] = {}
        for model, served, number in await self.read(lambda c: c.execute(ours).all()):
            found.setdefault(model, {})[served] = number
        return found

    async def shrink(self) -> None:
        """Give the space of deleted rows back to the disk; PostgreSQL does that by itself."""

        def work(connection: sa.Connection) -> None:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

        if self._bell is None:
            await self.read(work)

    def _bodies(
        self, connection: sa.Connection, keys: Sequence[bytes]
    ) -> tuple[Bodies, set[bytes]]:
        """Return what is stored under some keys, and which of them is not noted for the run."""
        noted = sa.and_(needs.c.key == generations.c.key, needs.c.run == self._run)
        columns = sa.select(generations.c.key, generations.c.body, needs.c.run)
        joined = columns.select_from(generations.outerjoin(needs, noted))
        bodies, unnoted = {}, set()
        for some in chunks(keys):
            for key, body, run in connection.execute(joined.where(generations.c.key.in_(some))):
                bodies[key] = body
                if run is None:
                    unnoted.add(key)
        return bodies, unnoted if self._run else set()

    def _note(self, connection: sa.Connection, keys: Iterable[bytes]) -> None:
        """Note that the run needs some generations."""
        rows = [{"key": key, "run": self._run} for key in sorted(keys)]
        if rows and self._run:
            connection.execute(insert_new(connection, needs), rows)

    async def _lasting(
        self, work: Callable[[], Awaitable[ResultT]], tell: Notify = lambda said: None
    ) -> ResultT:
        """Do some work that may be done twice; go on where a server was away for some seconds."""
        try:
            for seconds in PAUSES:
                try:
                    return await work()
                except StoreError as error:
                    if not passing(error.__cause__):
                        raise
                    log.warning("%s; once more in %g s", error, seconds)
                tell(f"waiting for the store {self._name}")
                await asyncio.sleep(seconds)
            return await work()
        finally:
            tell("")

    def _clearly(self) -> AbstractContextManager[None]:
        return clearly(self._name)


def _keep(connection: sa.Connection, new: Sequence[dict[str, Any]]) -> set[bytes]:
    """Insert generations; return the keys of those that nobody had stored before."""
    if not new:
        return set()
    statement = insert_new(connection, generations).returning(generations.c.key)
    return set(connection.execute(statement, new).scalars())


async def _unpacked(bodies: Bodies) -> dict[str, Generation]:
    """Unpack in a thread; a hop there is dear where there is nothing to do."""
    return await asyncio.to_thread(_unpack, bodies) if bodies else {}


def _unpack(bodies: Bodies) -> dict[str, Generation]:
    names = {unpack_key(key): body for key, body in bodies.items()}
    return {key: unpack(body, key) for key, body in names.items()}


def _columns(rows: dict[bytes, StoredRow], now: float) -> list[dict[str, Any]]:  # Any: by column
    return [
        {
            "key": key,
            "model": row.model,
            "tokens": row.generation.completion_tokens,
            "created": now,
            "served": row.generation.served,
            "body": pack(row.generation),
        }
        for key, row in sorted(rows.items())
    ]


def _names(keys: Iterable[bytes]) -> frozenset[str]:
    return frozenset(map(unpack_key, keys))
