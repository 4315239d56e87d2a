"""Run untrusted programs in a sandbox.

`await sandbox.run(program)` runs a Python program and returns its result. `Bubblewrap` is the
sandbox. `UnsafeSubprocess` gives no protection, as its name says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from collab.core.settings import Settings

SHARE = 2**26
"""The smallest memory limit with which a process can start (bytes)."""


class ProgramLimits(Settings):
    """The limits of one program."""

    seconds: int = Field(default=30, ge=1)
    """CPU time of each process (seconds)."""
    wall: float = Field(default=240.0, gt=0)
    """Wall-clock time until the program is stopped, even if it only waits for a processor
    (seconds). A program that sleeps or starts other processes is stopped sooner (`held`)."""
    processes: int = Field(default=4, ge=1)
    """The largest number of processes and threads at a time."""
    memory: int = Field(default=2**32, ge=SHARE)
    """Memory of all processes together, in equal shares (bytes)."""
    disk: int = Field(default=2**26, ge=2**16)
    """Size of the scratch folder, which is in memory too (bytes)."""
    output: int = Field(default=2**20, ge=0)
    """Largest output on stdout, and on stderr (bytes)."""

    @property
    def held(self) -> float:
        """The limit on the CPU time of all processes together, where sleep counts too (seconds).

        It is a quarter more than the CPU time of one process, for reading files, plus 2 s. Only
        Linux enforces it.
        """
        return 1.25 * self.seconds + 2

    @property
    def share(self) -> int:
        """The memory limit of each process (bytes of address space)."""
        return max(self.memory // self.processes, SHARE)


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """The result of a program."""

    code: int | None
    """Its exit code: 128 + n if signal n ended it, None if it was `stopped`."""
    stdout: str
    stderr: str
    stopped: Literal["time", "output"] | None = None
    """The limit that ended the program. At the other limits the program gets an error instead."""
    seconds: float = 0.0
    """Wall-clock time from start to end."""


class Sandbox(Protocol):
    """The protocol of sandboxes."""

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ...,
    ) -> ProgramResult:
        """Run a Python program until it ends or reaches a limit; several may run concurrently.

        Args:
            program: Its source, run as `__main__`.
            stdin: Its standard input.
            packages: Installed distributions that it may import besides the standard library.
            limits: Its limits.

        Raises:
            SandboxError: The program could not be started safely. Its own errors do not raise.
        """
        ...

    async def prove(self) -> None:
        """Check that programs can be run safely on this machine.

        Raises:
            SandboxError: They cannot.
        """
        ...
