"""The database of the store, and the transaction that makes all its changes.

SQLite (WAL) and PostgreSQL run the same statements.
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
from collab.store.database.claims import claims_on, release, renew, take, void
from collab.store.database.notifications import DrawListener, notify_listeners
from collab.store.database.owner import Owner
from collab.store.database.packing import pack, pack_key, unpack, unpack_key
from collab.store.database.place import (
    is_transient,
    name_of,
    place_of,
    pool_of,
    store_errors,
    url_of,
)
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
    """A generation to store, with its key and model."""

    key: str
    model: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Transaction:
    """The changes that one caller asks of the next transaction, made in this order."""

    keep: tuple[StoredRow, ...] = ()
    """Generations to store. A generation that already has the key is not replaced."""
    claim: tuple[str, ...] = ()
    """Keys to claim, if they are neither stored nor claimed."""
    drop: tuple[str, ...] = ()
    """Claims to release."""
    need: tuple[str, ...] = ()
    """Stored generations to record as needed by the run."""
    paid: tuple[Payment, ...] = ()
    """What seats of the run have paid for the generations in `keep`."""
    renew: bool = False
    """Whether to extend the owner's other claims."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """The state of some keys in the store."""

    found: dict[str, Generation]
    held: frozenset[str] = frozenset()
    """Keys that the owner has claimed."""
    busy: frozenset[str] = frozenset()
    """Keys that other owners are sampling."""
    unnoted: frozenset[str] = frozenset()
    """Keys in `found` that are not yet recorded as needed by the run."""


class Database:
    """A store's database and its connections.

    Args:
        where: A path or an SQLAlchemy URL.
        run: The folder of the run whose needs are recorded, if any.
        on_change: Called with the key of each draw that another process stores or releases
            (PostgreSQL only).
        payer: The id of the run whose spending is recorded; empty: record no spending.
    """

    def __init__(
        self,
        where: str | Path,
        run: Path | None = None,
        on_change: Callable[[str], None] = lambda _: None,
        payer: str = "",
    ) -> None:
        self.url = url_of(where)
        on_disk = self.url.get_backend_name() == "sqlite"
        self._name = name_of(self.url)
        self.patience = 1.0 if on_disk else 10.0
        """The longest pause before a waiting caller should look again (seconds)."""
        self._owner = Owner.here()
        self._place = place_of(run, self.url) if run else None
        self._run: int | None = None
        self._spending = Spending(payer, self.url.get_backend_name())
        with self._store_errors():
            self._pool = pool_of(self.url)
        self._listener = (
            DrawListener(self._pool.engine, on_change)
            if isinstance(self._pool, PostgresPool)
            else None
        )
        self._ahead = 0.0
        """How much the database's clock is ahead of the caller's (seconds)."""

    async def prepare(self, now: float, notify: Notify = lambda message: None) -> None:
        """Create the tables, or upgrade older ones, and delete expired claims.

        `notify` is called with a message while a server is away, and with "" after that.

        Raises:
            StoreError: The file is not a database, cannot be written, or a newer collab made it.
        """

        def work(connection: sa.Connection) -> None:
            upgrade(connection, self._name)
            if self._listener:
                clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
                self._ahead = float(connection.execute(clock).scalar_one()) - now
            lapsed = claims.c.expires < now + self._ahead
            connection.execute(sa.delete(claims).where(lapsed))
            if self._place:
                connection.execute(insert_new(connection, runs), {"place": self._place})
                ours = sa.select(runs.c.id).where(runs.c.place == self._place)
                self._run = connection.execute(ours).scalar_one()

        await self._retrying(lambda: self.write(work), notify)
        await self.listen()

    async def listen(self) -> None:
        """Listen for changes by other processes, or listen again if the connection was lost."""
        if self._listener:
            await self._listener.listen()

    async def close(self) -> None:
        """Close the connections."""
        if self._listener:
            await self._listener.close()
        await self._pool.close()

    async def look_up(self, groups: Sequence[Iterable[str]], now: float) -> StoreState:
        """Read the stored generations of these keys, and which other keys are being sampled."""
        keys = sorted({pack_key(key) for keys in groups for key in keys})

        def work(connection: sa.Connection) -> tuple[Bodies, set[bytes], set[bytes]]:
            bodies, unnoted = self._bodies(connection, keys)
            found = claims_on(connection, [key for key in keys if key not in bodies])
            return bodies, unnoted, found.keys() - void(found, self._owner, now + self._ahead)

        bodies, unnoted, busy = await self._retrying(lambda: self.read(work))
        found = await _unpacked(bodies)
        return StoreState(found, busy=_names(busy), unnoted=_names(unnoted))

    async def commit(
        self, changes: Sequence[Transaction], now: float, expires: float
    ) -> StoreState:
        """Make the changes in one transaction.

        Afterwards the owner has no claim on a key that is stored.
        """
        kept = {pack_key(row.key): row for change in changes for row in change.keep}
        asked = {pack_key(key) for change in changes for key in change.claim}
        dropped = {pack_key(key) for change in changes for key in change.drop}
        needed = {pack_key(key) for change in changes for key in change.need}
        due = self._spending.due(payment for change in changes for payment in change.paid)
        new = await asyncio.to_thread(_columns, kept, now + self._ahead) if kept else []

        def work(connection: sa.Connection) -> tuple[set[bytes], Bodies, frozenset[bytes]]:
            ours = _keep(connection, new)
            database_now, lease_end = now + self._ahead, expires + self._ahead
            held = take(connection, sorted(asked), self._owner, database_now, lease_end)
            bodies, _ = self._bodies(connection, sorted((asked | kept.keys()) - ours))
            self._note(connection, ours | bodies.keys() | needed)
            self._spending.write(connection, due)
            release(connection, dropped | ours | bodies.keys(), self._owner)
            if any(change.renew for change in changes):
                renew(connection, self._owner, lease_end)
            if self._listener:
                notify_listeners(connection, _names(dropped | kept.keys()))
            return ours, bodies, held - bodies.keys()

        ours, bodies, held = await self._retrying(lambda: self.write(work))
        self._spending.note(due)
        found = await _unpacked(bodies)
        fresh = {
            row.key: replace(row.generation, key=row.key) for row in map(kept.get, ours) if row
        }
        return StoreState(found | fresh, held=_names(held))

    async def read(self, work: Work[ResultT]) -> ResultT:
        """Run a function of a connection that only reads."""
        with self._store_errors():
            return await self._pool.do(work, writes=False)

    async def write(self, work: Work[ResultT]) -> ResultT:
        """Run a function of a connection that writes, in one transaction."""
        with self._store_errors():
            return await self._pool.do(work, writes=True)

    async def spent(self) -> dict[str, Cost]:
        """Return what all starts of the paying run have spent, by seat."""
        return await self.read(self._spending.read)

    async def versions(self) -> dict[str, dict[str, int]]:
        """Count the run's generations by model and by the model name that servers reported."""
        columns = generations.c.model, generations.c.served
        counted = sa.select(*columns, sa.func.count()).join(needs, needs.c.key == generations.c.key)
        ours = counted.where(needs.c.run == self._run).group_by(*columns).order_by(*columns)
        found: dict[str, dict[str, int]] = {}
        for model, served, number in await self.read(lambda c: c.execute(ours).all()):
            found.setdefault(model, {})[served] = number
        return found

    async def shrink(self) -> None:
        """Return the space of deleted rows to the disk; PostgreSQL does that by itself."""

        def work(connection: sa.Connection) -> None:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

        if self._listener is None:
            await self.read(work)

    def _bodies(
        self, connection: sa.Connection, keys: Sequence[bytes]
    ) -> tuple[Bodies, set[bytes]]:
        """Return the stored bodies of some keys, and the keys not recorded for the run."""
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
        """Record that the run needs some generations."""
        rows = [{"key": key, "run": self._run} for key in sorted(keys)]
        if rows and self._run:
            connection.execute(insert_new(connection, needs), rows)

    async def _retrying(
        self, work: Callable[[], Awaitable[ResultT]], notify: Notify = lambda message: None
    ) -> ResultT:
        """Run work that may run twice, and retry it while the server is away for some seconds."""
        try:
            for seconds in PAUSES:
                try:
                    return await work()
                except StoreError as error:
                    if not is_transient(error.__cause__):
                        raise
                    log.warning("%s; retrying in %g s", error, seconds)
                notify(f"waiting for the store {self._name}")
                await asyncio.sleep(seconds)
            return await work()
        finally:
            notify("")

    def _store_errors(self) -> AbstractContextManager[None]:
        return store_errors(self._name)


def _keep(connection: sa.Connection, new: Sequence[dict[str, Any]]) -> set[bytes]:
    """Insert generations; return the keys that were not stored before."""
    if not new:
        return set()
    statement = insert_new(connection, generations).returning(generations.c.key)
    return set(connection.execute(statement, new).scalars())


async def _unpacked(bodies: Bodies) -> dict[str, Generation]:
    """Unpack bodies in a thread, which costs too much if there are none."""
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
