"""Local model servers: started when first asked for, shared, watched, and stopped with their owner.

A server is a child process behind a loopback port and a key of its own. It does not hear the
terminal's Ctrl-C: its owner stops it, however the owner ends its work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from collab.endpoints.child import Child
from collab.endpoints.connection import Connection
from collab.endpoints.limits import Again
from collab.errors import EndpointError, LaunchError

logger = logging.getLogger(__name__)

POCKET_KEY = "COLLAB_SERVER_KEY"
"""The environment variable that hands a pocket server its key."""
SUPERVISED = (sys.executable, str(Path(__file__).with_name("supervise.py")))
"""Goes before the command of a server that would outlive us."""
FIRST_POLL, LONGEST_POLL = 0.1, 5.0
"""Pauses between looks at a starting server grow between these (seconds)."""
WATCH = 1.0
"""Pause between looks at running servers (seconds)."""


class PocketSpec(BaseModel):
    """The embedded models: one server serves them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["pocket"] = "pocket"
    api: str = "vllm"
    """Whose API they are served in: one of those the scripted server speaks."""
    startup: float = Field(default=120.0, gt=0)
    """How long it may take to be ready (seconds)."""

    def command(self, port: int) -> list[str]:
        """Return the command line; the server takes any free port and says which."""
        module = [sys.executable, "-m", "collab.pocket", "--port", "0"]
        return [*module, "--api", self.api, "--stop-with-parent", "--api-key-env", POCKET_KEY]

    def environment(self, key: str) -> dict[str, str]:
        """Return what the server's environment holds besides ours."""
        return {POCKET_KEY: key}


class VllmSpec(BaseModel):
    """A checkpoint behind vLLM's own server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vllm"] = "vllm"
    model: str
    """A folder or a Hugging Face id."""
    served_name: str | None = None
    """What requests call it; the model's own name where it is None."""
    python: str | None = None
    """The interpreter of the environment that vLLM is installed in; None: the one we run in."""
    args: tuple[str, ...] = ()
    """Further arguments for the server, word by word."""
    env: tuple[tuple[str, str], ...] = ()
    """Further environment variables; a mapping is taken too."""
    startup: float = Field(default=1800.0, gt=0)
    """How long it may take to be ready (seconds)."""

    @field_validator("args", mode="before")
    @classmethod
    def _words(cls, args: object) -> object:
        return tuple(map(str, args)) if isinstance(args, list | tuple) else args

    @field_validator("env", mode="before")
    @classmethod
    def _pairs(cls, env: object) -> object:
        if isinstance(env, Mapping):
            return tuple((name, str(value)) for name, value in env.items())
        return env

    def command(self, port: int) -> list[str]:
        """Return the command line; the model's own sampling defaults stay out of force."""
        python = self.python or sys.executable
        module = [*SUPERVISED, python, "-m", "vllm.entrypoints.openai.api_server"]
        name = self.served_name or self.model
        fixed = {"model": self.model, "served-model-name": name, "generation-config": "vllm"}
        words = [word for option, value in fixed.items() for word in (f"--{option}", value)]
        place = ["--host", "127.0.0.1", "--port", str(port)]
        return [*module, *words, *place, "--enable-prompt-tokens-details", *self.args]

    def environment(self, key: str) -> dict[str, str]:
        """Return what the server's environment holds besides ours."""
        return {"VLLM_API_KEY": key, "VLLM_MAX_STOP_STRINGS": "64", **dict(self.env)}


Spec = PocketSpec | VllmSpec


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    url: str
    """Its base URL."""
    api_key: str = field(repr=False)
    pid: int
    log: Path


class Launcher:
    """Starts each server once, and stops them all when it closes.

    Args:
        logs: Where the servers' logs go; None is a folder that goes with the launcher.
        sleep: Waits between two looks at a starting server.
    """

    def __init__(
        self,
        logs: Path | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._temporary = None if logs else tempfile.TemporaryDirectory(prefix="collab-")
        self._logs = logs or Path(self._temporary.name if self._temporary else "")
        self._sleep = sleep
        self._servers: dict[Spec, Server] = {}
        self._children: list[Child] = []
        self._starting = asyncio.Lock()  # one at a time: two that load would share the memory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self, spec: Spec) -> Server:
        """Return the server of `spec`, started now or before, as soon as it answers.

        Raises:
            LaunchError: It stopped by itself or was not ready in time; the log's end is shown.
        """
        async with self._starting:
            self.check()
            if spec not in self._servers:
                self._servers[spec] = await self._launch(spec)
            return self._servers[spec]

    def check(self) -> None:
        """Raise if a server that was started is no more.

        Raises:
            LaunchError: It stopped by itself; the log's end is shown.
        """
        for child in self._children:
            if not child.alive:
                child.died()

    async def watch(self) -> NoReturn:
        """Wait for a server to stop by itself; run it beside the work and cancel it at the end.

        Raises:
            LaunchError: One did; the log's end is shown.
        """
        while True:
            self.check()
            await self._sleep(WATCH)

    async def close(self) -> None:
        """Stop every server: ask first, then insist."""
        children, self._children = self._children, []
        self._servers.clear()
        await asyncio.gather(*(child.stop() for child in children))
        if self._temporary is not None:
            self._temporary.cleanup()

    async def _launch(self, spec: Spec) -> Server:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{spec.kind}-{len(self._children)}.log"
        key = secrets.token_urlsafe(24)
        port = _free_port()
        env = os.environ | spec.environment(key)
        child = await Child.spawn(spec.kind, spec.command(port), env, log, spec.kind == "pocket")
        try:
            url = await self._ready(spec, child, port, key)
        except BaseException:
            await child.stop()
            raise
        self._children.append(child)
        logger.info("%s server at %s (process %d, %s)", spec.kind, url, child.process.pid, log)
        return Server(url, key, child.process.pid, log)

    async def _ready(self, spec: Spec, child: Child, port: int, key: str) -> str:
        try:
            async with asyncio.timeout(spec.startup):
                if isinstance(spec, PocketSpec):
                    return _address(await child.line())
                url = f"http://127.0.0.1:{port}"
                await self._healthy(child, url, key)
                return url
        except TimeoutError:
            raise LaunchError(
                f"the {spec.kind} server was not ready within {spec.startup:g} s; "
                f"set launch.startup if it needs longer; "
                f"its log ({child.log}) ends:\n{child.tail}"
            ) from None

    async def _healthy(self, child: Child, url: str, key: str) -> None:
        connection, pause = Connection(f"{url}/v1", key, size=1), FIRST_POLL
        try:
            while child.alive:
                try:
                    await connection.get(f"{url}/health")
                    return
                except (Again, EndpointError):
                    await self._sleep(pause)
                    pause = min(pause * 1.5, LONGEST_POLL)
        finally:
            await connection.close()
        child.died()


def _address(line: bytes) -> str:
    """Read the line in which a pocket server says where it is."""
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError):
        raise LaunchError(f"the pocket server began with {line!r}, not with its address") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
