"""Untrusted programs, run where they can do no harm.

`await sandbox.run(program)` runs a Python program and tells what came of it. `Bubblewrap` is the
sandbox; `UnsafeSubprocess`, which is none, has its name for a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from collab.core.settings import Settings

SHARE = 2**26
"""The least memory that a process can start with (bytes)."""


class ProgramLimits(Settings):
    """What one program may use."""

    seconds: int = Field(default=30, ge=1)
    """CPU time of each of its processes."""
    wall: float = Field(default=240.0, gt=0)
    """Wall-clock seconds from its start until it is stopped, even if it only waits for a processor;
    one that sleeps, or starts others, is stopped sooner (`held`)."""
    processes: int = Field(default=4, ge=1)
    """How many processes and threads it may have at once."""
    memory: int = Field(default=2**32, ge=SHARE)
    """Bytes for all of them together; each process may take an equal share."""
    disk: int = Field(default=2**26, ge=2**16)
    """Bytes in its scratch folder, which is memory too."""
    output: int = Field(default=2**20, ge=0)
    """Bytes on stdout, and as many on stderr, until it is stopped."""

    @property
    def held(self) -> float:
        """How long all its processes together may compute, and it may sleep (seconds; Linux only).

        That is a quarter more than one of them may compute, for reading files, and 2 s.
        """
        return 1.25 * self.seconds + 2

    @property
    def share(self) -> int:
        """What each process may take (bytes of address space)."""
        return max(self.memory // self.processes, SHARE)


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """What came of a program."""

    code: int | None
    """Its exit code; 128 + n where signal n ended it, None where it was `stopped`."""
    stdout: str
    stderr: str
    stopped: Literal["time", "output"] | None = None
    """The limit that ended it; limits of memory and processes are for the program to notice."""
    seconds: float = 0.0
    """Wall-clock time from start to end."""


class Sandbox(Protocol):
    """Whoever runs programs."""

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ...,
    ) -> ProgramResult:
        """Run a Python program to its end or its limits; programs may run side by side.

        Args:
            program: Its source, run as `__main__`.
            stdin: What it reads.
            packages: Installed distributions that it may import, beside the standard library.
            limits: What it may use.

        Raises:
            SandboxError: It could not be started, or not safely; what the program does is no error.
        """
        ...

    async def prove(self) -> None:
        """Make sure that programs can be run here.

        Raises:
            SandboxError: They cannot, or not safely.
        """
        ...
