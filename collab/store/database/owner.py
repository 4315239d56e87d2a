"""The owner of a claim: an open store in a process, and whether that process still runs."""

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
    """An open store, identified so that another process can check whether it is still open."""

    machine: str
    """The host name, the boot id and the process namespace (that of a container, for example)."""
    pid: int
    started: str
    """The start time of the process, because ids are used again. Empty if unknown."""
    nonce: str = ""

    @classmethod
    def here(cls) -> Self:
        """Create an owner in this process."""
        _, started = _process(os.getpid())
        return cls(_machine(), os.getpid(), started, uuid.uuid4().hex[:8])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text that `str(owner)` returned."""
        machine, pid, started, nonce = text.rsplit("|", 3)
        return cls(machine, int(pid), started, nonce)

    def __str__(self) -> str:
        return f"{self.machine}|{self.pid}|{self.started}|{self.nonce}"

    def has_ended(self, seen_from: Owner) -> bool:
        """Return whether the owner's process has ended, as far as another owner can see.

        Processes of other machines cannot be seen: their claims expire with their lease.
        """
        if self.machine != seen_from.machine:
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
    """Return whether a process of this machine runs, and its start time (clock ticks, or empty)."""
    try:
        state, *fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
        return state not in "ZX", fields[18]
    except FileNotFoundError:
        return _accepts_signals(pid), ""


def _accepts_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
