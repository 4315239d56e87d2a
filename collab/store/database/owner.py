"""Who holds a claim: one store of one process, and whether that process is still there."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Owner:
    """A store that is open, in words that another process can check."""

    machine: str
    """The host, its boot and, in a container, which processes are seen."""
    pid: int
    started: str
    """When the process started: another one may get its number later. Empty where unknown."""
    nonce: str = ""

    @classmethod
    def here(cls) -> Self:
        """Name a new owner in this process."""
        _, started = _process(os.getpid())
        return cls(_machine(), os.getpid(), started, uuid.uuid4().hex[:8])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str(owner)` wrote."""
        machine, pid, started, nonce = text.rsplit("|", 3)
        return cls(machine, int(pid), started, nonce)

    def __str__(self) -> str:
        return f"{self.machine}|{self.pid}|{self.started}|{self.nonce}"

    def outlived_by(self, other: Owner) -> bool:
        """Say whether it was a process of the other one's machine that is no more.

        Of other machines nobody can tell: their claims lapse with their lease.
        """
        if self.machine != other.machine:
            return False
        alive, started = _process(self.pid)
        known = bool(started and self.started)
        return not alive or (known and started != self.started)


def _machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text()[:8]
        return f"{socket.gethostname()}:{boot}:{(PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def _process(pid: int) -> tuple[bool, str]:
    """Say whether a process of this machine runs, and when it started (clock ticks, if known)."""
    try:
        state, *fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
        return state not in "ZX", fields[18]
    except FileNotFoundError:
        return _signalled(pid), ""


def _signalled(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
