"""The database of the store, and the one transaction that changes it.

SQLite (WAL) or PostgreSQL, by the same statements. Rows are locked in the order of their keys, and
another owner's rows only where its claim is void, so that no two transactions wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from collab.database.owner import Owner
from collab.database.packing import pack, pack_key, unpack, unpack_key
from collab.database.place import clearly, engine_of, url_of
from collab.database.tables import CHUNK, claims, generations, upgrade
from collab.sampling import Generation

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert  # PostgreSQL's has the same methods

Columns = dict[str, Any]  # Any: SQLAlchemy takes whatever the column's type allows


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

    def __init__(self, where: str | Path) -> None:
        url = url_of(where)
        on_disk = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if on_disk else url.render_as_string(hide_password=True)
        self._owner = Owner.here()
        dialect = import_module(f"sqlalchemy.dialects.{url.get_backend_name()}")
        self._insert: type[Insert] = dialect.insert
        with self._clearly():
            self._engine = engine_of(url)

    async def prepare(self, now: float) -> None:
        """Make the tables, or bring older ones up to date; clear claims that have lapsed.

        Raises:
            StoreError: It is no database, cannot be written, or a newer collab made it.
        """
        with self._clearly():
            async with self._change() as connection:
                await connection.run_sync(upgrade, self.name)
                await connection.execute(sa.delete(claims).where(claims.c.expires < now))

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def look_up(self, groups: Sequence[Iterable[str]], now: float) -> State:
        """Read the generations of all these keys, and who is sampling the others."""
        keys = sorted({pack_key(key) for keys in groups for key in keys})
        with self._clearly():
            async with self._engine.connect() as connection:
                bodies = await _bodies(connection, keys)
                owners = await _claims(connection, [key for key in keys if key not in bodies])
        busy = owners.keys() - self._void(owners, now)
        return State(await _generations(bodies), busy=_names(busy))

    async def commit(self, changes: Sequence[Change], now: float, expires: float) -> State:
        """Make the changes in one transaction.

        What stands after it: the owner has no claim on a key that is stored.
        """
        rows = {pack_key(row.key): row for change in changes for row in change.keep}
        asked = sorted(pack_key(key) for change in changes for key in change.claim)
        dropped = [pack_key(key) for change in changes for key in change.drop]
        new = await asyncio.to_thread(_columns, rows, now)
        lease = {"owner": str(self._owner), "expires": expires}
        with self._clearly():
            async with self._change() as connection:
                if new:
                    keep = self._insert(generations).on_conflict_do_nothing()
                    await connection.execute(keep, new)
                held = await self._claim(connection, asked, now, lease)
                bodies = await _bodies(connection, sorted({*asked, *rows}))
                for gone in _chunks([*dropped, *bodies]):
                    mine = claims.c.owner == str(self._owner)
                    await connection.execute(sa.delete(claims).where(mine, claims.c.key.in_(gone)))
                if any(change.renew for change in changes):
                    mine = claims.c.owner == str(self._owner)
                    await connection.execute(sa.update(claims).where(mine).values(expires=expires))
        return State(await _generations(bodies), held=_names(held - bodies.keys()))

    async def _claim(
        self, connection: AsyncConnection, keys: Sequence[bytes], now: float, lease: Columns
    ) -> frozenset[bytes]:
        """Return those that are now the owner's: they were free, or their claim was void."""
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
