"""Serving an app for real: HTTP on a loopback port, in a thread of its own.

Test clients that call the app in their own process gather a whole stream before they hand it on,
and their disconnects reach nobody.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serve(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` while the context lasts, and yield its base URL (without /v1)."""
    with listen(host, port) as listening:
        server = _Server(app)
        thread = threading.Thread(target=server.run, args=([listening],), name="collab-wire")
        thread.start()
        try:
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            server.end()
            thread.join()


def listen(host: str, port: int) -> socket.socket:
    """Open a port (0: any free one) whose connections send at once.

    Without the option a reply's head goes out and its body waits for the client's delayed
    acknowledgement, 40 ms; asyncio sets it for the ports alone that it opens itself.
    """
    listening = socket.create_server((host, port), backlog=1024)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


class _Server(uvicorn.Server):
    """Uvicorn that ends when it is told to, not a fifth of a second later."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(server_config(app))
        self._told: Future[None] = Future()

    def end(self) -> None:
        """End from another thread; connections are cut."""
        self.should_exit = self.force_exit = True
        self._told.set_result(None)

    async def main_loop(self) -> None:
        """Wait for the end."""
        await asyncio.wrap_future(self._told)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and idle connections; requests under way are cancelled with the loop."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()


def server_config(app: ASGIApp) -> uvicorn.Config:
    """Set up uvicorn for an API: no lifespan, no WebSockets, no access log."""
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
