"""No sandbox: programs run as plain processes with all the rights of whoever starts them.

For a machine where bubblewrap cannot run and the programs are trusted, such as one's own. Time,
memory for each process, and output are limited; nothing else is. What a program starts ends with
it, unless it gives that another environment and another session.
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
    """Runs programs unprotected, so many at once."""

    def __init__(self, workers: int | None = None) -> None:
        """Set how many there may be at once; by default one a core."""
        self._free = asyncio.Semaphore(workers or os.cpu_count() or 1)

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ProgramLimits(),  # noqa: B008 - a frozen value
    ) -> ProgramResult:
        """Run a program with all our rights.

        Raises:
            SandboxError: It could not be started.
        """
        source = program.encode(errors="replace")
        paths = sorted({str(top.parent) for name in packages for top in package(name)})
        start = child.start(sys.executable, source, limits, paths=paths)
        async with self._free:
            with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
                payload = source + stdin.encode(errors="replace")
                return await child.run(start, payload, limits, cwd=scratch, mark=token_hex())

    async def prove(self) -> None:
        """Say what is risked."""
        log.warning("programs run without a sandbox, with all rights of this user")
