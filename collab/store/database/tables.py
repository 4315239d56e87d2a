"""The tables of a store, and the upgrades from older schemas."""

from __future__ import annotations

import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from collab.core.sampling import Generation, Logprobs
from collab.errors import StoreError
from collab.store.database.packing import pack, pack_key

if TYPE_CHECKING:
    from sqlalchemy.dialects.sqlite import Insert  # PostgreSQL's has the same methods

SCHEMA = 4
CHUNK = 500
"""The largest number of rows or keys in one statement."""
log = logging.getLogger(__name__)

_metadata = sa.MetaData()
version_of_schema = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer))
generations = sa.Table(
    "generations",
    _metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True, comment="request (16), draw (4), part (4)"),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("tokens", sa.Integer, nullable=False, comment="written"),
    sa.Column("created", sa.Double, nullable=False, comment="seconds since 1970"),
    sa.Column("served", sa.String, nullable=False, server_default="", comment="its name there"),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="JSON, zlib"),
)
claims = sa.Table(
    "claims",
    _metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("owner", sa.String, nullable=False, index=True),
    sa.Column("expires", sa.Double, nullable=False, comment="seconds since 1970"),
)
runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "place", sa.String, nullable=False, unique=True, comment="HOST:FOLDER, or from the file"
    ),
)
needs = sa.Table(
    "needs",
    _metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("run", sa.Integer, primary_key=True, comment="the run that was given it"),
    sqlite_with_rowid=False,
)
spent = sa.Table(
    "spent",
    _metadata,
    sa.Column("run", sa.String, primary_key=True, comment="the id in its manifest"),
    sa.Column("start", sa.String, primary_key=True, comment="one opening of the store"),
    sa.Column("seat", sa.String, primary_key=True),
    sa.Column("draws", sa.BigInteger, nullable=False),
    sa.Column("prompt", sa.BigInteger, nullable=False, comment="tokens, as are the next two"),
    sa.Column("cached", sa.BigInteger, nullable=False),
    sa.Column("completion", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("money", sa.Double, nullable=False, comment="US dollars"),
    sa.Column("flops", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)


def insert_new(connection: sa.Connection, table: sa.Table) -> Insert:
    """Return the statement that inserts rows and skips those with an existing key."""
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return statement


def chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split keys into chunks that fit in one statement."""
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def upgrade(connection: sa.Connection, name: str) -> None:
    """Create the tables, or upgrade older ones, in the current transaction.

    Raises:
        StoreError: A newer collab made the tables, or an older store is damaged.
    """
    if connection.dialect.name == "postgresql":  # one process at a time
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0xC011AB)))
    version_of_schema.create(connection, checkfirst=True)
    version = connection.execute(sa.select(version_of_schema.c.version)).scalar()
    if version is not None and version > SCHEMA:
        raise StoreError(
            f"the store {name} has schema {version}, but this collab knows schemas up to {SCHEMA};"
            " upgrade collab, or set store.url to another path"
        )
    if version is None:
        _metadata.create_all(connection)
        connection.execute(sa.insert(version_of_schema).values(version=SCHEMA))
        return
    for older in range(version, SCHEMA):
        log.info("upgrading the store %s from schema %d to %d", name, older, older + 1)
        try:
            STEPS[older](connection)
        except (zlib.error, struct.error, ValueError) as error:
            raise StoreError(
                f"the store {name} is damaged ({error}) and was not changed; move it away"
            ) from error
        connection.execute(sa.update(version_of_schema).values(version=older + 1))


def _to_2(connection: sa.Connection) -> None:
    """Pack each generation into one body, with its key as bytes."""
    connection.execute(sa.text("DROP TABLE claims"))
    connection.execute(sa.text("ALTER TABLE generations RENAME TO older"))
    _metadata.create_all(connection)
    older = sa.text("SELECT * FROM older WHERE key > :last ORDER BY key LIMIT :most")
    last = ""
    while rows := connection.execute(older, {"last": last, "most": CHUNK}).all():
        connection.execute(sa.insert(generations), [_from_1(row) for row in rows])
        last = rows[-1].key
    connection.execute(sa.text("DROP TABLE older"))


def _to_3(connection: sa.Connection) -> None:
    """Record which runs need each generation, and the model name that servers reported."""
    _metadata.create_all(connection)
    columns = sa.inspect(connection).get_columns("generations")
    if "served" not in {column["name"] for column in columns}:
        added = "ALTER TABLE generations ADD COLUMN served VARCHAR DEFAULT '' NOT NULL"
        connection.execute(sa.text(added))
    older = sa.insert(runs).values(id=0, place="(before schema 3)")  # their runs are unknown
    connection.execute(older)
    every = sa.select(generations.c.key, sa.literal(0))
    connection.execute(sa.insert(needs).from_select(["key", "run"], every))


def _from_1(row: sa.Row[Any]) -> dict[str, Any]:  # Any: one of each column
    generation = Generation(
        text=zlib.decompress(row.text).decode("utf-8", "surrogatepass"),
        ids=None if row.ids is None else struct.unpack(f"<{len(row.ids) // 4}I", row.ids),
        finish=row.finish,
        stop_reason=json.loads(row.stop_reason),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        logprobs=None if row.top20_entropy is None else _from_mean(row),
        seconds=row.seconds,
    )
    return {
        "key": pack_key(row.key),
        "model": row.model,
        "tokens": row.completion_tokens,
        "created": row.created,
        "body": pack(generation),
    }


def _from_mean(row: sa.Row[Any]) -> Logprobs:  # Any: one of each column
    """Give each token the mean entropy, because schema 1 stored only the mean."""
    return Logprobs(entropies=(row.top20_entropy,) * row.completion_tokens)


def _to_4(connection: sa.Connection) -> None:
    """Record what runs spend."""
    _metadata.create_all(connection)


STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""The upgrade from each older schema to the next one."""
