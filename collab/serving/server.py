"""Serving an app for real: HTTP on a port, in this process or in a thread of its own.

Test clients that call the app in their own process gather a whole stream before they hand it on,
and their disconnects reach nobody.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp

from collab.errors import ConfigError
from collab.serving.connection import TimedConnection
from collab.serving.guard import is_loopback

PATIENCE = 0.5
"""How long requests under way may go on when a server ends (seconds)."""
ENDING = 0.5
"""How long their work may take to stop when their connections are cut (seconds)."""


class UvicornServer(uvicorn.Server):
    """Uvicorn that ends within two seconds, whoever is connected."""

    def __init__(self, app: ASGIApp, connection: type[TimedConnection] = TimedConnection) -> None:
        super().__init__(server_config(app, connection))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and idle connections, let requests under way end, then cut the others."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._work(PATIENCE)
        await self._cut()

    async def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            assert isinstance(connection, TimedConnection)
            connection.cut()
        await self._work(ENDING)

    async def _work(self, seconds: float) -> None:
        """Wait for the requests under way."""
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=seconds)


@contextmanager
def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    connection: type[TimedConnection] = TimedConnection,
) -> Iterator[str]:
    """Serve `app` while the context lasts, and yield its base URL (without /v1)."""
    with listen(host, port) as listening:
        server = _InThread(app, connection)
        thread = threading.Thread(target=server.run, args=([listening],), name="collab-wire")
        thread.start()
        try:
            yield address(listening)
        finally:
            server.end()
            thread.join()


def listen(host: str, port: int) -> socket.socket:
    """Open a port (0: any free one) whose connections send at once.

    Without the option a reply's head goes out and its body waits for the client's delayed
    acknowledgement, 40 ms; asyncio sets it for the ports alone that it opens itself.

    Raises:
        ConfigError: There is no such host or port here, or it is taken.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"there is no port {port} (0 to 65535; 0: any free one)")
    try:
        (family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host!r}, port {port}: {why}") from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def address(listening: socket.socket) -> str:
    """Return the URL of a port; where it is open on all addresses, that on this machine."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def key_in(variable: str | None) -> str | None:
    """Return the key that an environment variable holds.

    Raises:
        ConfigError: It holds none.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"--api-key-env: {variable!r} is not set in the environment")
    return key


def key_for(listening: socket.socket) -> str | None:
    """Make a key where other machines can connect to a port; None where only this one can."""
    local = listening.family == socket.AF_UNIX or is_loopback(listening.getsockname()[0])
    return None if local else secrets.token_urlsafe(24)


class _InThread(UvicornServer):
    """A server that ends when another thread says so, and at once."""

    def __init__(self, app: ASGIApp, connection: type[TimedConnection]) -> None:
        super().__init__(app, connection)
        self._told: Future[None] = Future()

    def end(self) -> None:
        """End from another thread; connections are cut."""
        self.should_exit = self.force_exit = True
        self._told.set_result(None)

    async def main_loop(self) -> None:
        """Wait for the end."""
        await asyncio.wrap_future(self._told)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and cut every connection."""
        for server in self.servers:
            server.close()
        await self._cut()


def server_config(app: ASGIApp, connection: type[TimedConnection]) -> uvicorn.Config:
    """Set up uvicorn for an API: no lifespan, no WebSockets, no access log, no proxy's word."""
    return uvicorn.Config(
        app,
        http=connection,
        loop="asyncio",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
    )
