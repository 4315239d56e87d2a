"""The location of a store: a file on a local disk, or a PostgreSQL database."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from collab.core.release import extra
from collab.errors import StoreError
from collab.store.database.pool import PostgresPool, SqlitePool

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+asyncpg"}
NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|afs|ceph|lustre|gpfs|beegfs\w*|pvfs2|orangefs|panfs|wekafs|ocfs2|gfs2|coda"
    r"|ncpfs|glusterfs|fuse\.(sshfs|glusterfs|ceph\S*|s3fs|rclone|gcsfuse|mountpoint-s3|juicefs"
    r"|blobfuse\d?|mfs|lizardfs|moosefs|weka\S*|davfs\d?|vmhgfs-fuse)"
)
"""File systems on which SQLite's locks and shared memory do not hold between machines."""
TRANSIENT = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "08000", "08003", "08006"}
"""PostgreSQL's codes for colliding transactions, a server that restarts, or too many clients."""
NO_ROOM = ("is full", "No space left", "I/O", "quota", "too big")
"""Words of errors for writes that found no room, where a smaller write may still fit."""
MAGIC = b"SQLite format 3\0"
"""The first bytes of an SQLite file."""
BUSY = 60
"""Seconds to wait for another process's transaction on SQLite."""
FIXES = {
    "readonly": "make the file and its folder writable",
    "read-only": "set store.url to a server that accepts writes",
    "unable to open": "make its folder writable, or set store.url to another path",
    "is full": "free some space on its disk; committed draws are kept",
    "No space left": "free some space on its disk; committed draws are kept",
    "Not a directory": "set store.url to another path",
    "Read-only file": "set store.url to a path on a disk that can be written",
    "Permission denied": "make its folder writable, or set store.url to another path",
    "I/O": "check its disk and the free space; committed draws are kept",
    "quota": "free some space of your quota; committed draws are kept",
    "locked": f"another process has locked it for {BUSY} s: find that process, and start again",
    "malformed": "the file is damaged: restore a copy, or move it away with its -wal and -shm",
    "not a database": "set store.url to another path",
    "asyncpg": extra("postgres"),
    "password": "set PGPASSWORD or ~/.pgpass for this user",
    "does not exist": "create it first: createdb NAME, createuser NAME",
    "permission denied": "allow this user to create and write tables there",
    "pg_hba.conf": "allow this user to connect from this host",
    "too many": "close other clients, or raise max_connections",
    "Connect call failed": "start the server, or correct the host and port in store.url",
    "Connection refused": "start the server, or correct the host and port in store.url",
    "No such file": "start the server, or correct its folder (host=) in store.url",
    "TimeoutError": "check that the server can be reached, or correct the host in store.url",
    "Name or service not known": "correct the host in store.url",
}


def url_of(where: str | Path) -> URL:
    """Return the URL of a store, given a URL or a path.

    Raises:
        StoreError: The URL is not valid, or its database is not supported.
    """
    if isinstance(where, Path) or "://" not in where:
        return URL.create(DRIVERS["sqlite"], database=str(where))
    with store_errors(_hidden(where)):
        url = make_url(where)
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None or url.drivername not in (driver, url.get_backend_name()):
        known = ", ".join(f"{name}://" for name in DRIVERS.values())
        raise StoreError(f"store.url={_hidden(where)!r} is neither a path nor one of {known}")
    return url.set(drivername=driver)


def name_of(url: URL) -> str:
    """Return the name of a store for messages: its path, or its URL without the password."""
    on_disk = url.get_backend_name() == "sqlite"
    return str(url.database) if on_disk else url.render_as_string(hide_password=True)


def place_of(run: Path, url: URL) -> str:
    """Return the name under which the store records a run's folder.

    For SQLite it is relative to the store's own folder, so that both may move together.
    """
    if url.get_backend_name() == "sqlite":
        return os.path.relpath(run.resolve(), Path(url.database or "").resolve().parent)
    return f"{socket.gethostname()}:{run.resolve()}"


def is_gone(place: str, url: URL) -> bool:
    """Return whether the folder of a run is known to be gone."""
    if place.startswith("("):  # not a folder: the generations of an older store
        return False
    if url.get_backend_name() == "sqlite":
        return not (Path(url.database or "").resolve().parent / place).exists()
    host, _, path = place.partition(":")
    return host == socket.gethostname() and not Path(path).exists()


@contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Turn a driver's error into a StoreError that names the store, the reason and the fix."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        reason = reason or type(error).__name__
        fix = next((FIXES[word] for word in FIXES if word in reason), "check store.url")
        raise StoreError(f"cannot use the store {name}: {reason}; {fix}") from error


def is_transient(error: BaseException | None) -> bool:
    """Return whether an operation that raised this error may succeed a moment later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in TRANSIENT
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError)


def no_room(error: Exception) -> bool:
    """Return whether the store had no room for a write, so that a smaller one may succeed."""
    return isinstance(error, StoreError) and any(word in str(error) for word in NO_ROOM)


def pool_of(url: URL) -> SqlitePool | PostgresPool:
    """Return the connections for a URL; create the folder of a file."""
    if url.get_backend_name() != "sqlite":
        from sqlalchemy.ext.asyncio import create_async_engine  # slow to import

        return PostgresPool(create_async_engine(url, pool_pre_ping=True))
    if url.database in (None, "", ":memory:"):
        raise StoreError("store.url names no file; set it to a path, such as runs/store.sqlite")
    file = None if "uri" in url.query else Path(url.database or "")
    if file:
        _check_folder(file)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY})
    sa.event.listen(engine, "connect", _set_up)
    sa.event.listen(engine, "begin", _begin)
    return SqlitePool(engine, file)


def network_mount(path: Path, mounts: str) -> str | None:
    """Return the network file system of a path, if any, given the text of /proc/mounts."""
    best, kind = Path("/"), ""
    for line in mounts.splitlines():
        point, filesystem = line.split()[1:3]
        folder = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point))
        if path.is_relative_to(folder) and len(folder.parts) >= len(best.parts):
            best, kind = folder, filesystem
    return f"{kind} at {best}" if NETWORK.fullmatch(kind) else None


def _check_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mounts = Path("/proc/mounts")
    found = network_mount(path.resolve(), mounts.read_text()) if mounts.exists() else None
    if found:
        raise StoreError(
            f"the store {str(path)!r} is on a network file system ({found}), where SQLite's locks"
            " are not safe; set store.url to a path on a local disk or to a PostgreSQL database"
        )
    with suppress(OSError), path.open("rb") as file:
        if not MAGIC.startswith(file.read(len(MAGIC))):  # SQLite would overwrite a short file
            raise StoreError(
                f"cannot use the store {path}: it is not a database; set store.url to another path"
            )


def _set_up(connection: Any, _record: object) -> None:  # Any: SQLAlchemy's DBAPI adapter
    connection.isolation_level = None  # the driver starts no transactions of its own
    cursor = connection.cursor()
    _keep_a_log(cursor, time.monotonic() + BUSY)
    cursor.execute("PRAGMA synchronous=NORMAL")  # a power cut may lose the last commits, no more
    cursor.close()


def _keep_a_log(cursor: Any, until: float) -> None:  # Any: SQLAlchemy's DBAPI adapter
    """Turn the write-ahead log on, and retry while another process does so: SQLite does not."""
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("writes"):  # a read needs no transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _hidden(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
