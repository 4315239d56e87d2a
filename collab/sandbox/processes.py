"""The processes of a program, as Linux shows them: what time they used, which outlive it."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
MARK = "COLLAB_PROGRAM"
"""An environment variable, by which a process is known that left its parents."""
PASSES = 10
"""How often those are looked for: each may have started another one meanwhile."""


def used(root: int, elapsed: float) -> float:
    """Return the time that a process and its descendants used, in seconds.

    That is the CPU time of all of them; or, where it is more, the time since their start without
    that in which they were ready to run and waited for a processor. So sleep counts, and a busy
    machine does not. Where the kernel tells nothing, nothing was used.

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
    """Yield a process and its descendants, each with its CPU time and that of its dead children."""
    children, ticks = defaultdict[int, list[int]](list), dict[int, int]()
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended
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
    """Return how long the threads of a process waited for a processor, in seconds."""
    waited = 0
    for stat in PROC.glob(f"{pid}/task/*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            waited += int(stat.read_text().split()[1])
    return waited / 1e9


def end(mark: str) -> None:
    """End every process that was started with a mark in its environment, wherever it is now."""
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
