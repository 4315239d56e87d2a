"""Start local model servers on demand, share and watch them, and stop them with their owner.

A server is a process of its own, with a loopback port and a key of its own. If the outermost
command, or the user by hand, already runs the requested server, that one is used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn, Self

import httpx2
from filelock import FileLock, Timeout

from collab.endpoints import llamacpp_log, vllm_log
from collab.endpoints.child import Child
from collab.endpoints.owner import RunningServer, folder, open_folders, outer
from collab.endpoints.spec import PocketSpec, Serves, Spec
from collab.errors import LaunchError

logger = logging.getLogger(__name__)

FIRST_POLL, LONGEST_POLL = 0.1, 5.0
"""Pauses between looks at a starting server grow between these (seconds)."""
WATCH = 1.0
"""Pause between looks at running servers, and at another job that starts one (seconds)."""
TAIL = 4000
"""How much of a log's end an error shows (characters)."""
LOGS = {"vllm": vllm_log, "llamacpp": llamacpp_log}
"""What reads the log of each kind of server."""
NAMES = {"vllm": "vLLM", "llamacpp": "llama.cpp"}
OnProgress = Callable[[str], None]
"""Receives the progress of a server's start; the empty text marks its end."""


class Launcher:
    """Starts each server once; they stop when it closes, unless an outer command owns them.

    Args:
        logs: The folder of the servers' logs; None: a temporary one.
        tell: Receives the progress of a start.
        by_hand: Whether every command of this user may use the servers.
        sleep: Waits between two checks of a starting server.
    """

    def __init__(
        self,
        logs: Path | None = None,
        *,
        tell: OnProgress = lambda said: None,
        by_hand: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._logs, self._tell, self._sleep, self._by_hand = logs, tell, sleep, by_hand
        self._owned = ExitStack()
        self._folder: Path | None = None
        self._servers: dict[str, RunningServer] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self, spec: Spec, serves: Serves) -> RunningServer:
        """Return the server of `spec`, started now or before, as soon as it answers.

        Raises:
            LaunchError: It stopped by itself or was not ready in time; the log's end is shown.
        """
        what = "" if isinstance(spec, PocketSpec) else serves.model_dump_json()
        name = f"{spec.kind}-{_digest(spec.model_dump_json() + what)}"
        async with self._starting():
            self.check()
            if name not in self._servers:
                found = await self._running(name, spec)
                self._servers[name] = found or await self._launch(name, spec, serves)
            return self._servers[name]

    def check(self) -> None:
        """Check that the servers in use are running.

        Raises:
            LaunchError: One stopped unexpectedly; the message has the end of its log.
        """
        for name, server in self._servers.items():
            if not server.alive:
                died(name.partition("-")[0], server)

    async def watch(self) -> NoReturn:
        """Wait until a server stops unexpectedly; run this next to the work and cancel it later.

        Raises:
            LaunchError: One did; the message has the end of its log.
        """
        while True:
            self.check()
            await self._sleep(WATCH)

    async def close(self) -> None:
        """Let go of every server that is owned here, and wait until they have stopped."""
        self._servers.clear()
        self._folder = None
        await asyncio.to_thread(self._owned.close)

    @asynccontextmanager
    async def _starting(self) -> AsyncIterator[None]:
        """Start one at a time, in all jobs of the owner: two that load would share the memory."""
        lock = FileLock(self._place / "start.lock", timeout=0)
        while True:
            try:
                lock.acquire()
                break
            except Timeout:
                self._tell("waiting for another job to start its server")
                await asyncio.sleep(WATCH)
        try:
            yield
        finally:
            lock.release()
            self._tell("")

    @property
    def _place(self) -> Path:
        """The owner's folder."""
        if self._folder is None:
            found = None if self._by_hand else outer()
            self._folder = found or self._owned.enter_context(folder(by_hand=self._by_hand))
        return self._folder

    async def _running(self, name: str, spec: Spec) -> RunningServer | None:
        """Look for a server that was started before, and still answers.

        A pocket server answers as long as it lives; not every API that it speaks can be asked.
        """
        places = [self._place] if self._by_hand else [self._place, *open_folders()]
        for place in places:
            server = RunningServer.noted(place / f"{name}.json")
            if server is not None and (
                isinstance(spec, PocketSpec) or await self._answers(server, lambda: None)
            ):
                return server
        return None

    async def _launch(self, name: str, spec: Spec, serves: Serves) -> RunningServer:
        logs = self._logs or self._place
        logs.mkdir(parents=True, exist_ok=True)
        log, run, port = logs / f"{name}.log", self._place / f"{name}.run", _free_port()
        key = secrets.token_urlsafe(24)
        speaks = isinstance(spec, PocketSpec)
        env = os.environ | spec.environment(key)
        command = spec.command(serves, port)
        child = await asyncio.to_thread(Child.spawn, command, env, run, log, speaks)
        server = RunningServer(f"http://127.0.0.1:{port}", key, run, log.absolute())
        try:
            server = await self._ready(spec, serves, child, server)
            server.note(run.with_suffix(".json"))
            child.keep()
        except BaseException:
            await asyncio.to_thread(child.give_up)
            raise
        logger.info("%s server at %s (%s)", spec.kind, server.url, log)
        return server

    async def _ready(
        self, spec: Spec, serves: Serves, child: Child, server: RunningServer
    ) -> RunningServer:
        try:
            async with asyncio.timeout(spec.startup):
                if isinstance(spec, PocketSpec):  # it takes a second
                    return replace(server, url=_address(await child.line(), server))
                if not await self._answers(server, self._progress(spec.kind, serves.name, server)):
                    died(spec.kind, server)
        except TimeoutError:
            raise LaunchError(
                f"the {spec.kind} server was not ready within {spec.startup:g} s; "
                f"increase launch.startup if it needs longer; {tail(server)}"
            ) from None
        return server

    async def _answers(self, server: RunningServer, waiting: Callable[[], None]) -> bool:
        """Wait until a server answers; say False if it stops instead."""
        pause = FIRST_POLL
        async with httpx2.AsyncClient(trust_env=False, timeout=LONGEST_POLL) as client:
            while server.alive:
                with suppress(httpx2.HTTPError, TimeoutError):
                    async with (
                        asyncio.timeout(LONGEST_POLL),
                        client.stream("GET", f"{server.url}/health") as reply,
                    ):
                        if reply.is_success:
                            return True
                waiting()
                await self._sleep(pause)
                pause = min(pause * 1.5, LONGEST_POLL)
        return False

    def _progress(self, kind: str, name: str, server: RunningServer) -> Callable[[], None]:
        """Return a function that reads the progress of a server's start from its log."""
        began = time.monotonic()

        def tell() -> None:
            stage = LOGS[kind].stage(_log(server))
            self._tell(f"{NAMES[kind]} for {name}: {stage} ({time.monotonic() - began:.0f} s)")

        return tell


def died(kind: str, server: RunningServer) -> NoReturn:
    """Say how a server ended, and why where its log shows a usual failure.

    Raises:
        LaunchError: Always.
    """
    why = LOGS[kind].failure(_log(server), server.exit_code) if kind in LOGS else None
    code = "" if server.exit_code is None else f" (exit code {server.exit_code})"
    raise LaunchError(
        f"the {kind} server stopped unexpectedly{code}{f': {why}' if why else ''}; {tail(server)}"
    )


def tail(server: RunningServer) -> str:
    """Show how a server's log ends, and say where it is if it stays there."""
    where = "" if server.log.parent == server.run.parent else f" ({server.log})"
    return f"its log{where} ends with:\n{_log(server)[-TAIL:].strip() or '(nothing)'}"


def _log(server: RunningServer) -> str:
    return server.log.read_text(errors="replace") if server.log.exists() else ""


def _address(line: bytes, server: RunningServer) -> str:
    """Read the line in which a pocket server says where it is."""
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError):
        died("pocket", server)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
