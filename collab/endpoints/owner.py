"""Who owns the servers: the outermost command, for as long as it lives.

A command that starts servers keeps a folder of its own, and in it a file that it locks. The jobs of
a sweep, in this process or in others, find the folder by an environment variable and the servers
that were started before them by the notes in it. A server stops when the lock is free: the kernel
frees it however its owner ends. `collab launch` keeps an open folder, whose servers any command of
the same user may use.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from collab.endpoints.supervise import GRACE
from collab.errors import LaunchError

OWNER = "COLLAB_SERVERS"
"""The environment variable that names the folder of the outermost command."""
LOCK = "owner.lock"
OPEN = "open"
"""The file that says that any command may use a folder's servers."""
POLL = 0.05
"""Pause between looks at servers that stop (seconds)."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    url: str
    """Its base URL."""
    api_key: str = field(repr=False)
    run: Path
    """The file that is locked while it runs."""
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return locked(self.run)

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs, or if unknown."""
        try:
            return int(self.run.read_text())
        except (OSError, ValueError):
            return None

    @classmethod
    def noted(cls, note: Path) -> Self | None:
        """Load the note of a server; None if it is missing, or the server has stopped."""
        try:
            said = json.loads(note.read_bytes())
            server = cls(said["url"], said["api_key"], Path(said["run"]), Path(said["log"]))
        except (OSError, ValueError, KeyError):
            return None
        return server if server.alive else None

    def note(self, note: Path) -> None:
        """Write the note for later commands, in one step."""
        aside = note.with_suffix(".new")
        aside.touch(0o600)
        aside.write_text(json.dumps(asdict(self), default=str))
        aside.replace(note)


@contextmanager
def owning() -> Iterator[None]:
    """Own the servers that this process and its children start, unless an outer command does."""
    if outer() is not None:
        yield
        return
    with folder() as here:
        os.environ[OWNER] = str(here)
        try:
            yield
        finally:
            del os.environ[OWNER]


@contextmanager
def folder(*, by_hand: bool = False) -> Iterator[Path]:
    """Keep a folder; leaving lets go of its servers and waits until they have stopped.

    Args:
        by_hand: Whether every command of this user may use them.
    """
    here = Path(tempfile.mkdtemp(prefix="", dir=_place()))
    if by_hand:
        (here / OPEN).touch()
    held = os.open(here / "new", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    (here / "new").rename(here / LOCK)  # so that it is locked when it appears
    try:
        yield here
    finally:
        os.close(held)
        _wait(here)
        shutil.rmtree(here, ignore_errors=True)


def outer() -> Path | None:
    """Return the folder of the command that we are part of, if it lives and is on this machine."""
    named = os.environ.get(OWNER)
    return Path(named) if named and locked(Path(named) / LOCK) else None


def open_folders() -> list[Path]:
    """List the folders of servers started by hand, and remove those of dead owners."""
    found = []
    for lock in sorted(_place().glob(f"*/{LOCK}")):
        here = lock.parent
        if locked(lock):
            found += [here] if (here / OPEN).exists() else []
        elif not any(map(locked, here.glob("*.run"))):
            shutil.rmtree(here, ignore_errors=True)
    return found


def locked(path: Path) -> bool:
    """Say whether a process holds a file's lock."""
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _place() -> Path:
    """Return the folder of all owners' folders, which is private to this user and machine.

    Raises:
        LaunchError: It belongs to another user.
    """
    place = Path(tempfile.gettempdir()) / f"collab-servers-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LaunchError(
            f"{str(place)!r} belongs to or can be read by another user; remove it, or set TMPDIR "
            "to another folder"
        )
    return place


def _wait(here: Path) -> None:
    """Wait until all servers of a folder have stopped; they do so by themselves."""
    until = time.monotonic() + 2 * GRACE
    while any(map(locked, here.glob("*.run"))) and time.monotonic() < until:
        time.sleep(POLL)
