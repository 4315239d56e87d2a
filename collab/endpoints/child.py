"""Start a server as a process of its own, watched by a supervisor.

The server leads a session and a process group: it does not receive the terminal's Ctrl-C, and it
may outlive the process that started it. Until it is ready, we hold a pipe to its supervisor: if we
give up or are killed, it stops.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from collab.endpoints.owner import LOCK, POLL, locked

SUPERVISE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("supervise.py")))
READY = b"!"
"""The byte that tells the supervisor to keep the server."""


@dataclass(frozen=True)
class Child:
    """A server on its way."""

    starter: subprocess.Popen[bytes]
    """The process that started the supervisor; it has ended, but its pipes are open."""
    run: Path
    log: Path

    @classmethod
    def spawn(
        cls, command: Sequence[str], env: Mapping[str, str], run: Path, log: Path, speaks: bool
    ) -> Self:
        """Start a command under the owner of the folder that `run` is in.

        Its output goes to its log; if it `speaks`, `line` reads its stdout.
        """
        with log.open("wb") as errors:
            starter = subprocess.Popen(
                [*SUPERVISE, str(run.with_name(LOCK)), str(run), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if speaks else errors,
                stderr=errors,
                env=env,
            )
        starter.wait()
        return cls(starter, run, log)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return locked(self.run)

    async def line(self) -> bytes:
        """Return the next line it says on stdout; none where it stopped instead."""
        assert self.starter.stdout is not None
        return await asyncio.to_thread(self.starter.stdout.readline)

    def keep(self) -> None:
        """Leave it to its owner."""
        assert self.starter.stdin is not None
        self.starter.stdin.write(READY)
        self._close()

    def give_up(self) -> None:
        """Stop it, and wait until it has stopped."""
        assert self.starter.stdin is not None
        self.starter.stdin.close()
        while self.alive:
            time.sleep(POLL)
        self._close()

    def _close(self) -> None:
        for pipe in (self.starter.stdin, self.starter.stdout):
            if pipe is not None:
                pipe.close()
