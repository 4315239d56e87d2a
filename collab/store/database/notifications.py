"""Notifications of a PostgreSQL store: a draw was stored or released by another process.

They are sent in the transaction that changes the draw, and arrive when it is committed. SQLite has
no notifications, so its callers poll.
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
"""A number of keys that always fits in one notification (8,000 bytes)."""
log = logging.getLogger(__name__)


class DrawListener:
    """Calls `on_change` with the key of each draw that another process stored or released."""

    def __init__(self, engine: AsyncEngine, on_change: Callable[[str], None]) -> None:
        self._engine = engine
        self._on_change = on_change
        self._connection: AsyncConnection | None = None

    async def listen(self) -> None:
        """Start to listen, or start again if the connection was lost.

        A failure is only logged, because callers also poll, at longer intervals.
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
            await driver.add_listener(CHANNEL, self._receive)
        except (SQLAlchemyError, OSError) as error:
            log.warning("cannot listen for draws of other processes: %s", error)

    async def close(self) -> None:
        """Stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _receive(self, _connection: object, _pid: int, _channel: str, keys: str) -> None:
        for key in keys.split():
            self._on_change(key)


def notify_listeners(connection: sa.Connection, keys: Iterable[str]) -> None:
    """Notify all listeners of some keys as soon as this transaction is committed."""
    names = sorted(keys)
    for start in range(0, len(names), KEYS):
        payload = " ".join(names[start : start + KEYS])
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, payload)))
