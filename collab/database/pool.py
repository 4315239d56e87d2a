"""A database's connections: a piece of work is a function of one, done where it blocks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")
Work = Callable[[sa.Connection], Result]


class Local:
    """SQLite: the whole of a work goes to a thread once; a hop a statement costs twice the CPU."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def do(self, work: Work[Result], *, writes: bool) -> Result:
        """Do some work, in one transaction if it writes."""
        return await asyncio.to_thread(self._do, work, writes)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._engine.dispose)

    def _do(self, work: Work[Result], writes: bool) -> Result:
        with self._engine.execution_options(writes=writes).begin() as connection:
            return work(connection)


class Remote:
    """PostgreSQL: the driver waits for the server without blocking."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def do(self, work: Work[Result], *, writes: bool) -> Result:
        """Do some work, in one transaction if it writes."""
        async with self.engine.begin() if writes else self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.dispose()
