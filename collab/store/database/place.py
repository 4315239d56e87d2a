"""Where a store is: a file on a local disk, or a PostgreSQL database."""

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
PASSING = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "08000", "08003", "08006"}
"""What PostgreSQL says where transactions collide, while it stops and starts, or is crowded."""
NO_ROOM = ("is full", "No space left", "I/O", "quota", "too big")
"""What is said where a write finds no room, and a smaller one may."""
MAGIC = b"SQLite format 3\0"
"""How a file of SQLite begins."""
BUSY = 60
"""Seconds to wait for another process's transaction on SQLite."""
FIXES = {
    "readonly": "make the file and its folder writable",
    "read-only": "give a server that takes writes",
    "unable to open": "make its folder writable, or set store.url to another path",
    "is full": "free some space on its disk; what was committed stays",
    "No space left": "free some space on its disk; what was committed stays",
    "Not a directory": "set store.url to another path",
    "Read-only file": "set store.url to a path on a disk that can be written",
    "Permission denied": "make its folder writable, or set store.url to another path",
    "I/O": "check its disk and its space; what was committed stays",
    "quota": "free some space of your quota; what was committed stays",
    "locked": f"another process has kept it for {BUSY} s: see which one, and start again",
    "malformed": "the file is damaged: put a copy back, or move it away with its -wal and -shm",
    "not a database": "set store.url to another path",
    "asyncpg": extra("postgres"),
    "password": "set PGPASSWORD or ~/.pgpass for this user",
    "does not exist": "make it first: createdb NAME, createuser NAME",
    "permission denied": "let this user make and write tables there",
    "pg_hba.conf": "let this user in from this host",
    "too many": "close other clients, or raise max_connections",
    "Connect call failed": "start the server, or correct the host and port in store.url",
    "Connection refused": "start the server, or correct the host and port in store.url",
    "No such file": "start the server, or correct its folder (host=) in store.url",
    "TimeoutError": "see whether the server can be reached, or correct the host in store.url",
    "Name or service not known": "correct the host in store.url",
}


def url_of(where: str | Path) -> URL:
    """Return the URL of a store, given that or a path.

    Raises:
        StoreError: It is no URL, or of a database that is not supported.
    """
    if isinstance(where, Path) or "://" not in where:
        return URL.create(DRIVERS["sqlite"], database=str(where))
    with clearly(_hidden(where)):
        url = make_url(where)
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None or url.drivername not in (driver, url.get_backend_name()):
        known = ", ".join(f"{one}://" for one in DRIVERS.values())
        raise StoreError(f"store.url={_hidden(where)!r} is neither a path nor one of {known}")
    return url.set(drivername=driver)


def name_of(url: URL) -> str:
    """Return what messages call a store: its path, or its URL without the password."""
    on_disk = url.get_backend_name() == "sqlite"
    return str(url.database) if on_disk else url.render_as_string(hide_password=True)


def place_of(run: Path, url: URL) -> str:
    """Name a run's folder so that the store knows it again.

    From the store's own folder where that is a file, so that both may move together.
    """
    if url.get_backend_name() == "sqlite":
        return os.path.relpath(run.resolve(), Path(url.database or "").resolve().parent)
    return f"{socket.gethostname()}:{run.resolve()}"


def gone(place: str, url: URL) -> bool:
    """Say whether the folder of a run is known to be no longer there."""
    if place.startswith("("):  # no folder, but what an older store held
        return False
    if url.get_backend_name() == "sqlite":
        return not (Path(url.database or "").resolve().parent / place).exists()
    host, _, path = place.partition(":")
    return host == socket.gethostname() and not Path(path).exists()


@contextmanager
def clearly(name: str) -> Iterator[None]:
    """Turn what a driver raises into one StoreError that says what to do."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        reason = reason or type(error).__name__
        fix = next((FIXES[word] for word in FIXES if word in reason), "check store.url")
        raise StoreError(f"cannot use the store {name}: {reason}; {fix}") from error


def passing(error: BaseException | None) -> bool:
    """Say whether the same may well go through a moment later."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in PASSING
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError)


def no_room(error: Exception) -> bool:
    """Say whether a store refused a write for its size, so that a smaller one may go through."""
    return isinstance(error, StoreError) and any(word in str(error) for word in NO_ROOM)


def pool_of(url: URL) -> SqlitePool | PostgresPool:
    """Return the connections for a URL; make the folder of a file."""
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
    """Name the network file system that a path lies on, given the text of /proc/mounts."""
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
            f"the store {str(path)!r} lies on a network file system ({found}), where SQLite's locks"
            " are not safe; set store.url to a path on a local disk or to a PostgreSQL database"
        )
    with suppress(OSError), path.open("rb") as file:
        if not MAGIC.startswith(file.read(len(MAGIC))):  # SQLite overwrites a file that is short
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
    """Turn the write-ahead log on; SQLite does not wait for another process that is doing so."""
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
    if connection.get_execution_options().get("writes"):  # a lone read needs no transaction
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _hidden(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
