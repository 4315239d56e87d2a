"""The database of the store, and the one transaction that changes it.

SQLite (WAL) or PostgreSQL, by the same statements. Rows are locked in the order of their keys, and
another owner's rows only where its claim is void, so that no two transactions wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from collab.database.bell import Bell, ring
from collab.database.owner import Owner
from collab.database.packing import pack, pack_key, unpack, unpack_key
from collab.database.place import clearly, engine_of, passing, url_of
from collab.database.tables import CHUNK, claims, generations, upgrade
from collab.sampling import Generation

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert  # PostgreSQL's has the same methods

PAUSES = (0.1, 0.4, 1.0, 3.0, 10.0)
"""Seconds between attempts while a database server is away."""
Columns = dict[str, Any]  # Any: SQLAlchemy takes whatever the column's type allows
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A generation to be kept, with what it is a draw of."""

    key: str
    model: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Change:
    """What one caller wants of the next transaction, done in this order."""

    keep: tuple[Row, ...] = ()
    """Stored unless the key is there: the first one stands."""
    claim: tuple[str, ...] = ()
    """Keys to sample from now on, where nobody has stored or claimed them."""
    drop: tuple[str, ...] = ()
    """Claims to give up."""
    renew: bool = False
    """Whether to prolong the owner's other claims."""


@dataclass(frozen=True, slots=True)
class State:
    """What stands in the store of the keys that were named."""

    found: dict[str, Generation]
    held: frozenset[str] = frozenset()
    """Those that the owner has claimed."""
    busy: frozenset[str] = frozenset()
    """Those that somebody else is sampling."""


class Database:
    """One store's connection pool."""

    def __init__(self, where: str | Path, heard: Callable[[str], None]) -> None:
        url = url_of(where)
        on_disk = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if on_disk else url.render_as_string(hide_password=True)
        self.patience = 1.0 if on_disk else 10.0
        """The longest that a waiting caller should pause before it looks again (seconds)."""
        self._owner = Owner.here()
        dialect = import_module(f"sqlalchemy.dialects.{url.get_backend_name()}")
        self._insert: type[Insert] = dialect.insert
        with self._clearly():
            self._engine = engine_of(url)
        self._bell = None if on_disk else Bell(self._engine, heard)
        self._ahead = 0.0

    async def prepare(self, now: float) -> None:
        """Make the tables, or bring older ones up to date; clear claims that have lapsed.

        Raises:
            StoreError: It is no database, cannot be written, or a newer collab made it.
        """
        with self._clearly():
            async with self._change() as connection:
                await connection.run_sync(upgrade, self.name)
                if self._bell:
                    clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
                    self._ahead = float((await connection.execute(clock)).scalar_one()) - now
                lapsed = claims.c.expires < now + self._ahead
                await connection.execute(sa.delete(claims).where(lapsed))
        await self.listen()

    async def listen(self) -> None:
        """Hear of other processes' draws, where the database can tell; again if that broke off."""
        if self._bell:
            await self._bell.listen()

    async def close(self) -> None:
        """Close the connections."""
        if self._bell:
            await self._bell.close()
        await self._engine.dispose()

    async def look_up(self, groups: Sequence[Iterable[str]], now: float) -> State:
        """Read the generations of all these keys, and who is sampling the others."""
        keys = sorted({pack_key(key) for keys in groups for key in keys})

        async def read() -> tuple[dict[bytes, bytes], dict[bytes, _Claim]]:
            async with self._engine.connect() as connection:
                bodies = await _bodies(connection, keys)
                missing = [key for key in keys if key not in bodies]
                return bodies, await _claims(connection, missing)

        bodies, owners = await self._lasting(read)
        busy = owners.keys() - self._void(owners, now + self._ahead)
        return State(await _generations(bodies), busy=_names(busy))

    async def commit(self, changes: Sequence[Change], now: float, expires: float) -> State:
        """Make the changes in one transaction.

        What stands after it: the owner has no claim on a key that is stored.
        """
        now, expires = now + self._ahead, expires + self._ahead
        rows = {pack_key(row.key): row for change in changes for row in change.keep}
        asked = sorted(pack_key(key) for change in changes for key in change.claim)
        dropped = [pack_key(key) for change in changes for key in change.drop]
        renew = any(change.renew for change in changes)
        new = await asyncio.to_thread(_columns, rows, now)

        async def write() -> tuple[dict[bytes, bytes], frozenset[bytes]]:
            async with self._change() as connection:
                if new:
                    keep = self._insert(generations).on_conflict_do_nothing()
                    await connection.execute(keep, new)
                held = await self._claim(connection, asked, now, expires)
                bodies = await _bodies(connection, sorted({*asked, *rows}))
                await self._release(connection, [*dropped, *bodies])
                if renew:
                    mine = claims.c.owner == str(self._owner)
                    await connection.execute(sa.update(claims).where(mine).values(expires=expires))
                if self._bell:
                    await ring(connection, _names([*dropped, *rows]))
                return bodies, held

        bodies, held = await self._lasting(write)
        return State(await _generations(bodies), held=_names(held - bodies.keys()))

    async def _claim(
        self, connection: AsyncConnection, keys: Sequence[bytes], now: float, expires: float
    ) -> frozenset[bytes]:
        """Return those that are now the owner's: they were free, or their claim was void."""
        lease = {"owner": str(self._owner), "expires": expires}
        if keys:
            claim = self._insert(claims).on_conflict_do_nothing()
            await connection.execute(claim, [{"key": key, **lease} for key in keys])
        owners = await _claims(connection, keys)
        if void := self._void(owners, now):
            over = sa.update(claims).where(
                claims.c.key == sa.bindparam("void"), claims.c.owner == sa.bindparam("old")
            )
            values = [{"void": key, "old": owners[key].owner, **lease} for key in sorted(void)]
            await connection.execute(over, values)
            owners = await _claims(connection, keys)
        ours = str(self._owner)
        return frozenset(key for key, claim in owners.items() if claim.owner == ours)

    async def _release(self, connection: AsyncConnection, keys: Sequence[bytes]) -> None:
        for some in _chunks(keys):
            mine = sa.and_(claims.c.owner == str(self._owner), claims.c.key.in_(some))
            await connection.execute(sa.delete(claims).where(mine))

    def _void(self, owners: Mapping[bytes, _Claim], now: float) -> set[bytes]:
        """Return the keys whose claim has lapsed, or whose owner is known to be dead."""
        dead = {
            owner
            for owner in {claim.owner for claim in owners.values()}
            if Owner.parse(owner).outlived_by(self._owner)
        }
        return {
            key
            for key, claim in owners.items()
            if claim.owner in dead or (claim.expires < now and claim.owner != str(self._owner))
        }

    async def _lasting(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do some work that may be done twice; go on where a server was away for some seconds."""
        with self._clearly():
            for seconds in PAUSES:
                try:
                    return await work()
                except (SQLAlchemyError, OSError) as error:
                    if not passing(error):
                        raise
                    log.warning("the store %s: %s; once more in %g s", self.name, error, seconds)
                await asyncio.sleep(seconds)
            return await work()

    def _change(self) -> Any:  # Any: SQLAlchemy's own context manager type is private
        return self._engine.execution_options(writes=True).begin()

    def _clearly(self) -> AbstractContextManager[None]:
        return clearly(self.name)


class _Claim(NamedTuple):
    owner: str
    expires: float


async def _bodies(connection: AsyncConnection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    bodies: dict[bytes, bytes] = {}
    for some in _chunks(keys):
        columns = sa.select(generations.c.key, generations.c.body)
        rows = await connection.execute(columns.where(generations.c.key.in_(some)))
        bodies |= {key: body for key, body in rows}
    return bodies


async def _claims(connection: AsyncConnection, keys: Sequence[bytes]) -> dict[bytes, _Claim]:
    found: dict[bytes, _Claim] = {}
    for some in _chunks(keys):
        rows = await connection.execute(sa.select(claims).where(claims.c.key.in_(some)))
        found |= {row.key: _Claim(row.owner, row.expires) for row in rows}
    return found


async def _generations(bodies: Mapping[bytes, bytes]) -> dict[str, Generation]:
    return await asyncio.to_thread(_unpacked, bodies)


def _unpacked(bodies: Mapping[bytes, bytes]) -> dict[str, Generation]:
    names = {unpack_key(key): body for key, body in bodies.items()}
    return {key: unpack(body, key) for key, body in names.items()}


def _columns(rows: Mapping[bytes, Row], now: float) -> list[Columns]:
    return [
        {
            "key": key,
            "model": row.model,
            "tokens": row.generation.completion_tokens,
            "created": now,
            "body": pack(row.generation),
        }
        for key, row in sorted(rows.items())
    ]


def _names(keys: Iterable[bytes]) -> frozenset[str]:
    return frozenset(map(unpack_key, keys))


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
