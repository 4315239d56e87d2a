"""The processes of a program, read from Linux's /proc: the time they used, and those left over."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
MARK = "COLLAB_PROGRAM"
"""An environment variable that marks the processes of a program, even without their parents."""
PASSES = 10
"""How often marked processes are searched: each may have started another one meanwhile."""


def used(root: int, elapsed: float) -> float:
    """Return the time that a process and its descendants have used (seconds).

    This is the larger of their total CPU time and the elapsed time without the time in which they
    waited for a processor. So sleep counts, and waiting on a busy machine does not. The result is 0
    if the kernel gives no waiting times.

    Args:
        root: The first process.
        elapsed: Wall-clock seconds since its start.
    """
    tree = list(_tree(root))
    waited = [_waited(pid) for pid, _ in tree]
    if not any(waited):
        return 0.0
    return max(sum(ticks for _, ticks in tree) / os.sysconf("SC_CLK_TCK"), elapsed - sum(waited))


def _tree(root: int) -> Iterator[tuple[int, int]]:
    """Yield a process and its descendants, with their CPU times (ticks; ended children count)."""
    children, ticks = defaultdict[int, list[int]](list), dict[int, int]()
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # the process has ended
            fields = stat.read_text(errors="replace").rpartition(") ")[2].split()
            pid = int(stat.parent.name)
            children[int(fields[1])].append(pid)
            ticks[pid] = sum(map(int, fields[11:15]))
    todo = [root]
    while todo:
        pid = todo.pop()
        todo += children[pid]
        if pid in ticks:
            yield pid, ticks[pid]


def _waited(pid: int) -> float:
    """Return how long the threads of a process have waited for a processor (seconds)."""
    waited = 0
    for stat in PROC.glob(f"{pid}/task/*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            waited += int(stat.read_text().split()[1])
    return waited / 1e9


def end(mark: str) -> None:
    """Kill all processes with a mark in their environment."""
    entry = f"{MARK}={mark}".encode()
    for _ in range(PASSES):
        found = [pid for pid in _all() if entry in _environment(pid)]
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _all() -> Iterator[int]:
    return (int(folder.name) for folder in PROC.glob("[0-9]*"))


def _environment(pid: int) -> list[bytes]:
    with suppress(OSError):
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return []
