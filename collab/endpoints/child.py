"""A child process that serves: started aside, with a log, and ended with all that it started.

It leads a process group and a session of its own, so that it does not hear the terminal's Ctrl-C.
Its stdin is a pipe that we hold: a child that watches it stops even where we are killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from collab.errors import LaunchError

logger = logging.getLogger(__name__)

GRACE = 10.0
"""How long a server may take to stop when asked (seconds)."""
TAIL = 4000
"""How much of the log's end an error shows (characters)."""


@dataclass(frozen=True)
class Child:
    """One running server."""

    name: str
    process: Process
    log: Path

    @classmethod
    async def spawn(
        cls, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, speaks: bool
    ) -> Self:
        """Start a command; what it says on stdout is for us where it `speaks`, else for the log.

        Raises:
            LaunchError: There is no such command.
        """
        try:
            with log.open("wb") as errors:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=PIPE,
                    stdout=PIPE if speaks else errors,
                    stderr=errors,
                    env=env,
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(f"cannot run {command[0]!r}: {error.strerror}") from error
        return cls(name, process, log)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.returncode is None

    @property
    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-TAIL:].strip() or "(nothing)"

    def died(self) -> NoReturn:
        """Say how it ended.

        Raises:
            LaunchError: Always.
        """
        raise LaunchError(
            f"the {self.name} server stopped by itself (exit code {self.process.returncode}); "
            f"its log ({self.log}) ends:\n{self.tail}"
        )

    async def line(self) -> bytes:
        """Return the next line it says; dying instead is an error.

        Raises:
            LaunchError: It stopped by itself.
        """
        stdout = self.process.stdout
        line = await stdout.readline() if stdout else b""
        if not line:
            await self.process.wait()
            self.died()
        return line

    async def stop(self) -> None:
        """End it and whatever it started itself: ask first, then insist."""
        if self.alive:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(GRACE):
                    await self.process.wait()
            except TimeoutError:
                logger.warning("the %s server did not stop within %g s", self.name, GRACE)
        self._signal(signal.SIGKILL)
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
