"""Connections to a database: run a function of a connection without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from collab.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

ResultT = TypeVar("ResultT")
Work = Callable[[sa.Connection], ResultT]


class SqlitePool:
    """Connections to SQLite, which run each function in a thread.

    Switching threads for each statement instead would cost twice the CPU time.
    """

    def __init__(self, engine: sa.Engine, file: Path | None) -> None:
        self._engine, self._file = engine, file
        self._opened: tuple[int, int] | None = None
        """Identifies the open file, because SQLite continues to write to a deleted file."""

    async def do(self, work: Work[ResultT], *, writes: bool) -> ResultT:
        """Run a function of a connection, in one transaction if it writes."""
        return await asyncio.to_thread(self._do, work, writes)

    async def close(self) -> None:
        """Close the connections.

        Raises:
            StoreError: The file was deleted or replaced; a copy of its content is saved next to it.
        """
        await asyncio.to_thread(self._close)

    def _do(self, work: Work[ResultT], writes: bool) -> ResultT:
        if self._vanished:
            raise StoreError(self._lost)
        with self._engine.execution_options(writes=writes).begin() as connection:
            result = work(connection)
        if self._opened is None:
            self._opened = self._there
        elif self._vanished:
            raise StoreError(self._lost)
        return result

    @property
    def _there(self) -> tuple[int, int] | None:
        """Identifies the file that is now at the path; None if no file is there."""
        try:
            found = os.stat(self._file or "")
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @property
    def _vanished(self) -> bool:
        return self._opened is not None and self._there != self._opened

    @property
    def _lost(self) -> str:
        how = "replaced by another file" if self._there else "deleted"
        return f"the store {self._file} was {how} while it was in use"

    def _close(self) -> None:
        lost = self._lost if self._vanished else ""
        try:
            if lost:
                raise StoreError(f"{lost}; {self._save()}")
        finally:
            self._engine.dispose()

    def _save(self) -> str:
        """Copy the open database to a new file; return a message with its path, or the error."""
        saved = f"{self._file}.saved"
        try:
            with self._engine.connect() as opened, closing(sqlite3.connect(saved)) as target:
                source = opened.connection.driver_connection
                assert isinstance(source, sqlite3.Connection)
                source.backup(target)
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            return f"its content could not be saved ({error}): the draws must be sampled again"
        if self._there is None:  # SQLite would take the old log for that of the saved file
            for suffix in ("-wal", "-shm"):
                Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        return f"its whole content is saved as {saved}: move that to its place, and start again"


class PostgresPool:
    """Connections to PostgreSQL, whose driver waits for the server without blocking."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def do(self, work: Work[ResultT], *, writes: bool) -> ResultT:
        """Run a function of a connection, in one transaction if it writes."""
        async with self.engine.begin() if writes else self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()
