"""Serve pocket reasoners in a process of its own: `python -m collab.pocket [MODEL ...]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import uvicorn
from starlette.types import ASGIApp

from collab.endpoints.scripted import Api, ScriptedServer
from collab.errors import ConfigError
from collab.pocket import callers
from collab.pocket.programs import CODERS, coder
from collab.wire import build_app, listen, server_config

BETA = "/beta"
"""Where DeepSeek's API takes a begun turn."""


def main(argv: Sequence[str]) -> int:
    """Serve until stopped, and return the exit status.

    As soon as requests are answered, one line of JSON on stdout says where: `url`, `uds`, `pid`.
    """
    asked = _parser().parse_args(argv)
    try:
        app = _app(asked)
        with _listen(asked) as listening:
            place = BETA if asked.api == "deepseek" else ""
            _Server(app, listening, asked.uds, place).serve_forever(asked.stop_with_parent)
    except (ConfigError, OSError) as error:
        print(f"collab.pocket: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if asked.uds is not None:
            asked.uds.unlink(missing_ok=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="collab.pocket", description=__doc__)
    parser.add_argument("models", nargs="*", help="shipped names or folders; default: all shipped")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (the ready line says)")
    parser.add_argument("--uds", type=Path, help="serve on this Unix socket instead")
    parser.add_argument("--api", default="vllm", choices=get_args(Api), help="whose API to speak")
    parser.add_argument(
        "--scripted",
        choices=(*CODERS, *callers.CALLERS),
        help="serve a script in their place, by the name 'scripted'",
    )
    parser.add_argument("--api-key-env", help="the environment variable that holds the key to ask")
    parser.add_argument(
        "--stop-with-parent", action="store_true", help="stop when stdin reaches its end"
    )
    return parser


def _app(asked: argparse.Namespace) -> ASGIApp:
    """Make the app: the wire's own or, in another API's form, the scripted server's."""
    from collab.pocket.server import Pocket

    key = _key(asked.api_key_env)
    if asked.scripted is not None:
        if asked.scripted in callers.CALLERS:
            return callers.server(asked.scripted, api=asked.api, key=key)
        return ScriptedServer(coder(asked.scripted), api=asked.api, key=key, keep=0)
    backend = Pocket(asked.models)
    if asked.api == "vllm":
        return build_app(backend, key=key)
    return ScriptedServer(backend, api=asked.api, key=key, keep=0)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"--api-key-env: {variable!r} is not set in the environment")
    return key


def _listen(asked: argparse.Namespace) -> socket.socket:
    if asked.uds is None:
        return listen(asked.host, asked.port)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(asked.uds))
    asked.uds.chmod(0o600)
    listening.listen(1024)
    return listening


class _Server(uvicorn.Server):
    """Uvicorn that says where it is, and may stop with its parent."""

    def __init__(
        self, app: ASGIApp, listening: socket.socket, uds: Path | None, place: str
    ) -> None:
        super().__init__(server_config(app))
        self._listening, self._uds, self._place = listening, uds, place

    def serve_forever(self, stop_with_parent: bool) -> None:
        if stop_with_parent:
            threading.Thread(target=self._watch_parent, daemon=True).start()
        asyncio.run(self.serve([self._listening]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        address = self._listening.getsockname()
        host = "http://localhost" if self._uds else f"http://{address[0]}:{address[1]}"
        url = host + self._place
        uds = None if self._uds is None else str(self._uds)
        print(json.dumps({"url": url, "uds": uds, "pid": os.getpid()}), flush=True)

    def _watch_parent(self) -> None:
        """Read stdin to its end: the parent holds the other end of the pipe as long as it lives."""
        while os.read(0, 4096):
            pass
        self.should_exit = True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
