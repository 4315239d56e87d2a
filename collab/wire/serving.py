"""Serving an app for real: HTTP on a loopback port, in a thread of its own.

Test clients that call the app in their own process gather a whole stream before they hand it on,
and their disconnects reach nobody.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serve(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` while the context lasts, and yield its base URL (without /v1)."""
    with socket.create_server((host, port), backlog=1024) as listening:
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=server.run, args=([listening],), name="collab-wire")
        thread.start()
        try:
            yield f"http://{host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


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
