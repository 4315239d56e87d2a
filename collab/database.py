"""The tables of the store and the one transaction that changes them.

SQLite (WAL) or PostgreSQL, by the same statements.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from collab.errors import StoreError
from collab.sampling import Generation

SCHEMA = 1
NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|afs|ceph|lustre|gpfs|beegfs\w*|fuse\.(sshfs|glusterfs|s3fs|rclone)"
)
FIXES = {
    "readonly": "make the file and its folder writable",
    "unable to open": "make its folder writable, or set store.url to another path",
    "is full": "free some space on its disk; what was committed stays",
    "I/O": "check its disk and its space; what was committed stays",
    "not a database": "set store.url to another path",
    "asyncpg": "install collab[postgres]",
}

_metadata = sa.MetaData()
_schema = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer))
_generations = sa.Table(
    "generations",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("request", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("draw", sa.Integer, nullable=False),
    sa.Column("text", sa.LargeBinary, nullable=False, comment="UTF-8, zlib"),
    sa.Column("ids", sa.LargeBinary, comment="little-endian, 32 bits each"),
    sa.Column("finish", sa.String, nullable=False),
    sa.Column("stop_reason", sa.String, nullable=False, comment="JSON"),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer),
    sa.Column("top20_entropy", sa.Double),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("created", sa.Double, nullable=False, comment="seconds since 1970"),
)
_claims = sa.Table(
    "claims",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column("expires", sa.Double, nullable=False, comment="seconds since 1970"),
)
Columns = dict[str, Any]  # Any: SQLAlchemy takes whatever the column's type allows


@dataclass(frozen=True, slots=True)
class Row:
    """A generation to be kept, with what it is a draw of."""

    key: str
    request: str
    """The digest of its request."""
    model: str
    draw: int
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


class Database:
    """One store's connection pool."""

    def __init__(self, where: str | Path, owner: str) -> None:
        url = _url(where)
        self.name = url.render_as_string(hide_password=True)
        self._owner = owner
        with self._clearly():
            if url.get_backend_name() == "sqlite" and "uri" not in url.query:
                _check_folder(Path(url.database or ""))
            self._engine = _engine(url)

    async def prepare(self, now: float) -> None:
        """Make the tables where they are not there, and remove claims that have lapsed.

        Raises:
            StoreError: It is no database, cannot be written, or a newer collab made it.
        """
        with self._clearly():
            async with self._change() as connection:
                await connection.run_sync(_metadata.create_all)
                version = (await connection.execute(sa.select(_schema.c.version))).scalar()
                if version is None:
                    await connection.execute(sa.insert(_schema).values(version=SCHEMA))
                owners = await connection.scalars(sa.select(_claims.c.owner).distinct())
                lapsed = _claims.c.owner.in_([one for one in owners if _gone(one, self._owner)])
                await connection.execute(
                    sa.delete(_claims).where(sa.or_(_claims.c.expires < now, lapsed))
                )
        if version is not None and version > SCHEMA:
            raise StoreError(
                f"the store {self.name} has schema {version}, this collab knows up to {SCHEMA};"
                " upgrade collab, or set store.url to another path"
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def look_up(self, groups: Sequence[Iterable[str]]) -> State:
        """Read the generations of all these keys."""
        with self._clearly():
            async with self._engine.connect() as connection:
                return State(await _find(connection, [key for keys in groups for key in keys]))

    async def commit(self, changes: Sequence[Change], now: float, expires: float) -> State:
        """Make the changes in one transaction.

        What stands after it: the owner has no claim on a key that is stored.
        """
        kept = [row for change in changes for row in change.keep]
        claimed = [key for change in changes for key in change.claim]
        dropped = [key for change in changes for key in change.drop]
        with self._clearly():
            async with self._change() as connection:
                if any(change.renew for change in changes):
                    await connection.execute(
                        sa.update(_claims)
                        .where(_claims.c.owner == self._owner)
                        .values(expires=expires)
                    )
                await self._keep(connection, kept, now)
                held = await self._claim(connection, claimed, now, expires)
                found = await _find(connection, [*claimed, *(row.key for row in kept)])
                if gone := [*dropped, *found]:
                    await connection.execute(_mine(self._owner).where(_claims.c.key.in_(gone)))
                return State(found, held.difference(found))

    async def _keep(self, connection: AsyncConnection, rows: Sequence[Row], now: float) -> None:
        if rows:
            statement = self._insert(_generations).on_conflict_do_nothing()
            await connection.execute(statement, [_columns(row, now) for row in rows])

    async def _claim(
        self, connection: AsyncConnection, keys: Sequence[str], now: float, expires: float
    ) -> frozenset[str]:
        """Return those that were free or whose claim has lapsed."""
        if not keys:
            return frozenset()
        new = {"owner": self._owner, "expires": expires}
        statement = self._insert(_claims).on_conflict_do_update(
            index_elements=[_claims.c.key], set_=new, where=_claims.c.expires < now
        )
        claimed = await connection.execute(
            statement.returning(_claims.c.key), [{"key": key, **new} for key in keys]
        )
        return frozenset(claimed.scalars())

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        on_sqlite = self._engine.dialect.name == "sqlite"
        return sqlite.insert(table) if on_sqlite else postgresql.insert(table)

    def _change(self) -> Any:  # Any: SQLAlchemy's own context manager type is private
        return self._engine.execution_options(writes=True).begin()

    @contextmanager
    def _clearly(self) -> Iterator[None]:
        """Turn what the driver raises into one StoreError that says what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            reason = str(getattr(error, "orig", None) or error)
            fix = next((FIXES[word] for word in FIXES if word in reason), "see the cause above")
            raise StoreError(f"cannot use the store {self.name}: {reason}; {fix}") from error


def network_mount(path: Path, mounts: str) -> str | None:
    """Name the network file system that a path lies on, given the text of /proc/mounts."""
    best, kind = Path("/"), ""
    for line in mounts.splitlines():
        point, filesystem = line.split()[1:3]
        folder = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point))
        if path.is_relative_to(folder) and len(folder.parts) >= len(best.parts):
            best, kind = folder, filesystem
    return f"{kind} at {best}" if NETWORK.fullmatch(kind) else None


def _url(where: str | Path) -> URL:
    if isinstance(where, str) and "://" in where:
        return make_url(where)
    return URL.create("sqlite+aiosqlite", database=str(where))


def _check_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mounts = Path("/proc/mounts")
    found = network_mount(path.resolve(), mounts.read_text()) if mounts.exists() else None
    if found:
        raise StoreError(
            f"the store {str(path)!r} lies on a network file system ({found}), where SQLite's locks"
            " are not safe; set store.url to a path on a local disk or to a PostgreSQL database"
        )


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url, connect_args={"timeout": 60})
    sa.event.listen(engine.sync_engine, "connect", _set_up)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: object) -> None:  # Any: SQLAlchemy's DBAPI adapter
    connection.isolation_level = None  # the driver starts no transactions of its own
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # a power cut may lose the last commits, no more
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("writes"):  # a lone read needs no transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _gone(owner: str, ours: str) -> bool:
    """Say whether a claim's owner was a process of this machine that is no more."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != ours.rsplit(":", 2)[0]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _mine(owner: str) -> sa.Delete:
    return sa.delete(_claims).where(_claims.c.owner == owner)


async def _find(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, Generation]:
    if not keys:
        return {}
    rows = await connection.execute(sa.select(_generations).where(_generations.c.key.in_(keys)))
    return {row.key: _generation(row) for row in rows}


def _columns(row: Row, now: float) -> Columns:
    one = row.generation
    return {
        "key": row.key,
        "request": row.request,
        "model": row.model,
        "draw": row.draw,
        "text": zlib.compress(one.text.encode("utf-8", "surrogatepass")),
        "ids": None if one.ids is None else struct.pack(f"<{len(one.ids)}I", *one.ids),
        "finish": one.finish,
        "stop_reason": json.dumps(one.stop_reason),
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "cached_tokens": one.cached_tokens,
        "top20_entropy": one.top20_entropy,
        "seconds": one.seconds,
        "created": now,
    }


def _generation(row: sa.Row[Any]) -> Generation:  # Any: one of each column
    return Generation(
        text=zlib.decompress(row.text).decode("utf-8", "surrogatepass"),
        ids=None if row.ids is None else struct.unpack(f"<{len(row.ids) // 4}I", row.ids),
        finish=row.finish,
        stop_reason=json.loads(row.stop_reason),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        top20_entropy=row.top20_entropy,
        seconds=row.seconds,
        key=row.key,
    )
