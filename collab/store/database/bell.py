"""The bell of a PostgreSQL store: who waits for a draw hears at once that it is kept or given up.

It is rung in the transaction that changes the draw, and so heard when that is committed. SQLite has
none: there, one looks again and again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

CHANNEL = "collab_draws"
KEYS = 150
"""Names that surely fit into one notification (8,000 bytes)."""
log = logging.getLogger(__name__)


class DrawListener:
    """Calls `heard` with the key of each draw that another process kept or gave up."""

    def __init__(self, engine: AsyncEngine, heard: Callable[[str], None]) -> None:
        self._engine = engine
        self._heard = heard
        self._connection: AsyncConnection | None = None

    async def listen(self) -> None:
        """Start to listen, or start again if the connection was lost.

        Without one the draws still come, only later: a failure is logged.
        """
        if self._connection is not None:
            with suppress(SQLAlchemyError, OSError):
                await self._connection.execute(sa.select(1))
                return
        try:
            await self.close()
            connection = await self._engine.connect()
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.add_listener(CHANNEL, self._hear)
        except (SQLAlchemyError, OSError) as error:
            log.warning("cannot listen for other processes' draws: %s", error)

    async def close(self) -> None:
        """Stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _hear(self, _connection: object, _pid: int, _channel: str, keys: str) -> None:
        for key in keys.split():
            self._heard(key)


def ring(connection: sa.Connection, keys: Iterable[str]) -> None:
    """Tell everybody who listens, as soon as this transaction is committed."""
    names = sorted(keys)
    for start in range(0, len(names), KEYS):
        said = " ".join(names[start : start + KEYS])
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, said)))
