"""Serve pocket reasoners in a process of its own: `python -m collab.pocket [MODEL ...]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from starlette.types import ASGIApp

from collab.endpoints.scripted import Api, ScriptedServer
from collab.errors import ConfigError
from collab.pocket import callers
from collab.pocket.programs import CODERS, coder
from collab.serving import (
    Guard,
    UvicornServer,
    address,
    build_app,
    key_for,
    key_in,
    listen,
    own_names,
)

BETA = "/beta"
"""The path at which DeepSeek's API continues a given beginning of a turn."""


def main(argv: Sequence[str]) -> int:
    """Serve until stopped, and return the exit status.

    Once the server answers requests, it prints one line of JSON to stdout with `url`, `uds`, `pid`
    and `api_key`. It makes a key if other machines can connect and no key was given.
    """
    asked = _parser().parse_args(argv)
    try:
        key = key_in(asked.api_key_env)
        with _listening(asked) as listening:
            made = None if key else key_for(listening)
            ready = {**_place(asked, listening), "pid": os.getpid(), "api_key": made}
            server = _Server(_app(asked, key or made), ready)
            server.serve_forever(listening, asked.stop_with_parent)
    except (ConfigError, OSError) as error:
        print(f"collab.pocket: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="collab.pocket", description=__doc__)
    parser.add_argument("models", nargs="*", help="shipped names or folders; default: all shipped")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (printed on start)")
    parser.add_argument("--uds", type=Path, help="serve on this Unix socket instead")
    parser.add_argument("--api", default="vllm", choices=get_args(Api), help="the API to serve")
    parser.add_argument(
        "--scripted",
        choices=(*CODERS, *callers.CALLERS),
        help="serve a script instead of models, under the name 'scripted'",
    )
    parser.add_argument("--api-key-env", help="environment variable with the key to require")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when stdin ends")
    return parser


def _app(asked: argparse.Namespace, key: str | None) -> ASGIApp:
    """Build the app: `collab.serving` for vLLM's API, else the scripted server."""
    from collab.pocket.server import PocketBackend

    names = own_names(asked.host)
    if asked.scripted is None and asked.api == "vllm":
        return build_app(PocketBackend(asked.models), key=key, names=names)
    if asked.scripted in callers.CALLERS:
        server = callers.server(asked.scripted, api=asked.api, names=names)
    else:
        script = PocketBackend(asked.models) if asked.scripted is None else coder(asked.scripted)
        server = ScriptedServer(script, api=asked.api, names=names, keep=0)
    return Guard(server, key, names)


@contextmanager
def _listening(asked: argparse.Namespace) -> Iterator[socket.socket]:
    """Open the port, or a Unix socket for this user only, which is removed at the end."""
    if asked.uds is None:
        with listen(asked.host, asked.port) as listening:
            yield listening
        return
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(str(asked.uds))
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"cannot listen on {str(asked.uds)!r}: {why}") from error
        try:
            asked.uds.chmod(0o600)
            listening.listen(1024)
            yield listening
        finally:
            asked.uds.unlink(missing_ok=True)


def _place(asked: argparse.Namespace, listening: socket.socket) -> dict[str, str | None]:
    path = BETA if asked.api == "deepseek" else ""
    if asked.uds is not None:
        return {"url": f"http://localhost{path}", "uds": str(asked.uds)}
    return {"url": address(listening) + path, "uds": None}


class _Server(UvicornServer):
    """A server that prints its address, and may stop with its parent."""

    def __init__(self, app: ASGIApp, ready: Mapping[str, str | int | None]) -> None:
        super().__init__(app)
        self._ready = ready

    def serve_forever(self, listening: socket.socket, stop_with_parent: bool) -> None:
        if stop_with_parent:
            threading.Thread(target=self._watch_parent, daemon=True).start()
        asyncio.run(self.serve([listening]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps(self._ready), flush=True)

    def _watch_parent(self) -> None:
        """Read stdin to its end: the parent keeps the other end of the pipe open while it lives."""
        while os.read(0, 4096):
            pass
        self.should_exit = True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
