"""Serve an app over HTTP on a port, in this process or in a thread of its own.

Tests use it too: a test client that calls the app in its own process collects a whole stream before
it returns any of it, and the app does not notice when that client disconnects.
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
"""How long running requests may continue when a server ends (seconds)."""
ENDING = 0.5
"""How long their work may take to stop once their connections are cut (seconds)."""


class UvicornServer(uvicorn.Server):
    """A uvicorn server that ends within two seconds, even with clients connected."""

    def __init__(self, app: ASGIApp, connection: type[TimedConnection] = TimedConnection) -> None:
        super().__init__(server_config(app, connection))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and idle connections, let running requests end, then cut the others."""
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
        """Wait for the running requests."""
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
    """Open a port (0: any free one) with TCP_NODELAY.

    Without this option the body of a reply waits 40 ms for the client's delayed acknowledgement of
    its head. asyncio sets it only for the ports that it opens itself.

    Raises:
        ConfigError: The host or port does not exist here, or the port is in use.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"port {port} is out of range (0 to 65535; 0: any free one)")
    try:
        (family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host!r}, port {port}: {why}") from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def address(listening: socket.socket) -> str:
    """Return the URL of a port, with the loopback address if it is open on all addresses."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def key_in(variable: str | None) -> str | None:
    """Return the API key in an environment variable; None if `variable` is None.

    Raises:
        ConfigError: The variable is not set, or empty.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"--api-key-env: {variable!r} is not set in the environment")
    return key


def key_for(listening: socket.socket) -> str | None:
    """Make a random key if other machines can connect to a port; else return None."""
    local = listening.family == socket.AF_UNIX or is_loopback(listening.getsockname()[0])
    return None if local else secrets.token_urlsafe(24)


class _InThread(UvicornServer):
    """A server that another thread ends at once."""

    def __init__(self, app: ASGIApp, connection: type[TimedConnection]) -> None:
        super().__init__(app, connection)
        self._ended: Future[None] = Future()

    def end(self) -> None:
        """End the server from another thread; connections are cut."""
        self.should_exit = self.force_exit = True
        self._ended.set_result(None)

    async def main_loop(self) -> None:
        """Wait for `end`."""
        await asyncio.wrap_future(self._ended)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and cut every connection."""
        for server in self.servers:
            server.close()
        await self._cut()


def server_config(app: ASGIApp, connection: type[TimedConnection]) -> uvicorn.Config:
    """Configure uvicorn for an API: no lifespan, WebSockets, access log or proxy headers."""
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
