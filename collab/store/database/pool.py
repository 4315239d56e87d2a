"""A database's connections: a piece of work is a function of one, done where it blocks nobody."""

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
    """SQLite: the whole of a work goes to a thread once; a hop a statement costs twice the CPU."""

    def __init__(self, engine: sa.Engine, file: Path | None) -> None:
        self._engine, self._file = engine, file
        self._opened: tuple[int, int] | None = None
        """What names the file that is open: SQLite goes on writing to one that was deleted."""

    async def do(self, work: Work[ResultT], *, writes: bool) -> ResultT:
        """Do some work, in one transaction if it writes."""
        return await asyncio.to_thread(self._do, work, writes)

    async def close(self) -> None:
        """Close the connections.

        Raises:
            StoreError: The file was deleted or replaced; what was in it is saved beside.
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
        """What names the file that is now at the path, None where there is none."""
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
        """Copy what is still open into a file of its own; say where it is, or why there is none."""
        aside = f"{self._file}.saved"
        try:
            with self._engine.connect() as here, closing(sqlite3.connect(aside)) as there:
                source = here.connection.driver_connection
                assert isinstance(source, sqlite3.Connection)
                source.backup(there)
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            return f"what it held could not be saved ({error}): draws must be sampled again"
        if self._there is None:  # what is left of its log would be taken for the saved file's own
            for rest in ("-wal", "-shm"):
                Path(f"{self._file}{rest}").unlink(missing_ok=True)
        return f"all it held is saved as {aside}: move that to its place, and start again"


class PostgresPool:
    """PostgreSQL: the driver waits for the server without blocking."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def do(self, work: Work[ResultT], *, writes: bool) -> ResultT:
        """Do some work, in one transaction if it writes."""
        async with self.engine.begin() if writes else self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()
