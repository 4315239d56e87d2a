"""Run programs without a sandbox: as plain processes with all rights of the user.

Use it only for programs that you trust, on a machine where bubblewrap cannot run. Only the time,
the memory of each process and the output are limited. Processes that a program has started end with
it, unless it starts them with another environment and in another session.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from secrets import token_hex
from tempfile import TemporaryDirectory

from collab.sandbox import ProgramLimits, ProgramResult, child
from collab.sandbox.interpreter import package

log = logging.getLogger(__name__)


class UnsafeSubprocess:
    """Runs programs without protection, at most `workers` at a time."""

    def __init__(self, workers: int | None = None) -> None:
        """Set the number of programs that may run at once; by default one per core."""
        self._free = asyncio.Semaphore(workers or os.cpu_count() or 1)

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ProgramLimits(),  # noqa: B008 - a frozen value
    ) -> ProgramResult:
        """Run a program with all rights of this user.

        Raises:
            SandboxError: The program could not be started.
        """
        source = program.encode(errors="replace")
        paths = sorted({str(top.parent) for name in packages for top in package(name)})
        start = child.start(sys.executable, source, limits, paths=paths)
        async with self._free:
            with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
                payload = source + stdin.encode(errors="replace")
                return await child.run(start, payload, limits, cwd=scratch, mark=token_hex())

    async def prove(self) -> None:
        """Log a warning about the risk."""
        log.warning("programs run without a sandbox, with all rights of this user")
