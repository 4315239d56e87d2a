"""A live view of a run in progress: viewers see one of its episodes grow.

A viewer touches a file in the run's folder again and again. While the file is fresh, the run writes
one episode in progress to another file: a line with the case, a line per event, and a line with its
finish. Without a viewer, nothing is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from collab.core.trajectory import Event, Message, Trajectory
from collab.errors import RunError
from collab.runs.enclosed import opened, reading
from collab.runs.jsonl import JsonLines, Plain, line_of

LOOKED = ".looked"
"""The file that viewers touch; it holds a part of the case id, or nothing."""
SHOWN = ".shown.jsonl"
LOOK = 5.0
"""Seconds for which one touch counts."""
_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_MESSAGES: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


class Playing(NamedTuple):
    """An episode in progress. One is made for every event of a run, so it must be cheap."""

    case: str
    messages: tuple[Message, ...]
    trajectory: Trajectory


@dataclass
class LiveView:
    """The run's side: show one episode while there is a viewer."""

    path: Path
    """The run's folder."""
    clock: Callable[[], float] = time.time
    _case: str = ""
    _written: int = 0
    """Number of its events that are written."""

    def show(self, under_way: dict[str, Playing]) -> None:
        """Write the new events of the episode in view; a disk error shows nothing."""
        with suppress(OSError):
            wanted = self._wanted()
            if wanted is None:
                self._case = ""
                return
            if self._case not in under_way or wanted not in self._case:
                case = next((case for case in reversed(under_way) if wanted in case), None)
                if case is None:
                    return
                self._open(under_way[case])
            self._add(under_way[self._case].trajectory.log)

    def end(self, playing: Playing, finish: str, verdict: str) -> None:
        """Write how the episode in view ended."""
        if playing.case == self._case:
            with suppress(OSError):
                self._add(playing.trajectory.log)
                self._append([{"finish": finish, "verdict": verdict}])
            self._case = ""

    def _wanted(self) -> str | None:
        """Return the part of the case id that a viewer asks for; None without a viewer."""
        if not _looked(self.path, self.clock()):
            return None
        return (self.path / LOOKED).read_text(encoding="utf-8", errors="replace")

    def _open(self, playing: Playing) -> None:
        """Begin another episode in a new file, so that readers notice."""
        aside = self.path / f"{SHOWN}.new"
        messages = _MESSAGES.dump_python(playing.messages, mode="json")
        first = line_of({"case": playing.case, "messages": messages})
        aside.write_text(first, encoding="utf-8", errors="surrogatepass")
        os.replace(aside, self.path / SHOWN)
        self._case, self._written = playing.case, 0

    def _add(self, log: Sequence[Event]) -> None:
        if new := log[self._written :]:
            self._append(_EVENTS.dump_python(list(new), mode="json"))
            self._written = len(log)

    def _append(self, rows: Iterable[Plain]) -> None:
        with (self.path / SHOWN).open("ab") as file:
            file.write("".join(map(line_of, rows)).encode("utf-8", "surrogatepass"))


def _looked(path: Path, now: float) -> bool:
    with suppress(FileNotFoundError):
        return abs(now - (path / LOOKED).stat().st_mtime) <= LOOK
    return False


@dataclass(frozen=True, slots=True)
class ViewSnapshot:
    """A snapshot of the episode in view."""

    case: str
    messages: tuple[Message, ...]
    trajectory: Trajectory
    finish: str = ""
    """How it ended; empty while it is in progress."""
    verdict: str = ""


@dataclass
class LiveViewer:
    """The viewer's side, in any process that may write to the folder."""

    path: Path
    wanted: str = ""
    """A part of the id of the case to see; empty: any case."""
    clock: Callable[[], float] = time.time
    _place: tuple[int, int] = (0, 0)
    """The open file, and the byte after the last line that was read."""
    _head: Plain = field(default_factory=dict)
    _log: list[Event] = field(default_factory=list)
    _end: Plain = field(default_factory=dict)

    def look(self) -> ViewSnapshot | None:
        """Ask the run to show an episode, and return the current snapshot.

        Raises:
            RunError: The folder cannot be written, or the shown file is damaged.
        """
        try:
            if not _looked(self.path, self.clock()):
                (self.path / SHOWN).unlink(missing_ok=True)  # it shows an earlier episode
            (self.path / LOOKED).write_text(self.wanted, encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"cannot view {str(self.path)!r}: {error.strerror or error}; a viewer must be "
                "able to write to the run's folder"
            ) from None
        with reading(self.path):
            with suppress(FileNotFoundError):
                self._load()
            if not self._head or self.wanted not in self._head["case"]:
                return None
            messages = _MESSAGES.validate_python(self._head["messages"])
            trajectory = Trajectory.replay(self._log)
            end = {key: str(self._end.get(key, "")) for key in ("finish", "verdict")}
            return ViewSnapshot(str(self._head["case"]), messages, trajectory, **end)

    def close(self) -> None:
        """Stop viewing."""
        with suppress(OSError):
            (self.path / LOOKED).unlink(missing_ok=True)

    def _load(self) -> None:
        with opened(self.path / SHOWN) as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._place[0]:
                self._place, self._head, self._log, self._end = (inode, 0), {}, [], {}
            file.seek(self._place[1])
            whole = file.read()
        whole = whole[: whole.rfind(b"\n") + 1]
        self._place = inode, self._place[1] + len(whole)
        for line in whole.splitlines():
            self._take(JsonLines.row_of(line))

    def _take(self, row: Plain) -> None:
        if "event" in row:
            self._log += _EVENTS.validate_python([row])
        elif "case" in row:
            self._head = row
        else:
            self._end = row
