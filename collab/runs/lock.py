"""The lock of a folder: one process writes at a time, and the lock names it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from collab.errors import RunError
from collab.runs.enclosed import check_enclosed, read_small
from collab.runs.jsonl import written


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that writes to a folder."""

    host: str
    pid: int
    since: str
    command: str = ""

    @classmethod
    def of(cls, path: Path) -> LockHolder | None:
        """Return the process that holds a folder, as far as this machine can tell."""
        with suppress(OSError, ValueError):
            holder = _HOLDER.validate_json(read_small(path / ".holder", 2**16))
            return holder if holder._alive else None
        return None

    @property
    def _alive(self) -> bool:
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # there is no such number either
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}: {self.command}"


_HOLDER: TypeAdapter[LockHolder] = TypeAdapter(LockHolder)


@contextmanager
def held(path: Path, command: str) -> Iterator[None]:
    """Lock a folder for this process; create the folder if it is new.

    Raises:
        RunError: Another process holds it, and the message names it; or the folder cannot be
            written; or a link leads out of it.
    """
    check_enclosed(path)
    with written(path):
        path.mkdir(parents=True, exist_ok=True)
        (path / ".lock").touch()
    lock = FileLock(path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        by = LockHolder.of(path) or "another process"
        raise RunError(
            f"{str(path)!r} is being written by {by}; wait until it has finished"
        ) from None
    try:
        holder = LockHolder(socket.gethostname(), os.getpid(), now(), command)
        with suppress(OSError):  # only the lock counts
            (path / ".holder").write_bytes(_HOLDER.dump_json(holder))
        yield
    finally:
        with suppress(OSError):
            (path / ".holder").unlink(missing_ok=True)
        lock.release()


def now() -> str:
    """Return the time in the format of a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds")
