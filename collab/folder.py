"""A run's folder: what was decided goes in whole, what happens goes in line by line.

The manifest is written once; entering a folder again checks that what decides the numbers is the
same. A finished episode is one line, flushed; a torn last line is dropped and its episode owed
again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from collab.engine import Episode
from collab.errors import RunError
from collab.scenario import Score
from collab.trajectory import Event, Trajectory

Plain = dict[str, Any]  # any: JSON as it stands in a file
_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_SCORE: TypeAdapter[Score] = TypeAdapter(Score)
PACKAGES = ("collab", "openai", "pydantic", "hydra-core", "math-verify", "numpy", "tokenizers")


def digest(decides: Mapping[str, Any]) -> str:
    """Name what decides a run's numbers (48 bits in hex), whatever the order of its keys."""
    text = json.dumps(decides, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text.encode(), digest_size=6).hexdigest()


class RunFolder:
    """The files of one run. Enter it with `RunFolder.enter` to write, or make one to read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def enter(cls, path: Path, decides: Plain, start: Plain) -> Iterator[RunFolder]:
        """Lock a folder for writing; make it where it is new.

        Args:
            path: The folder.
            decides: What decides the numbers: it must equal the manifest's.
            start: What is noted of this start (versions and host are added).

        Raises:
            RunError: Another process writes there, or `decides` differs; the message lists the
            keys.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {str(path)!r}: {error}") from None
        lock = FileLock(path / ".lock", timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            raise RunError(f"another process is writing to {str(path)!r}; wait for it") from None
        try:
            folder = cls(path)
            folder._open(decides, start)
            yield folder
        finally:
            lock.release()

    @property
    def manifest(self) -> Plain:
        """What the run is.

        Raises:
            RunError: There is none.
        """
        try:
            manifest: Plain = json.loads((self.path / "manifest.json").read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{str(self.path)!r} is no run folder: {error}") from None
        return manifest

    def episodes(self) -> Iterator[tuple[Episode, Plain]]:
        """Yield the finished episodes, each with the row that it was read from.

        A case that was played again after a stop comes once: its last line counts.
        """
        last = {row["case"]: nth for nth, row in enumerate(self._rows("episodes.jsonl"))}
        for nth, row in enumerate(self._rows("episodes.jsonl")):
            if last[row["case"]] != nth:
                continue
            trajectory = Trajectory.replay(_EVENTS.validate_python(row["log"]))
            yield (
                Episode(row["case"], trajectory, row["finish"], row["sampled"], row["stored"]),
                row,
            )

    def finished(self) -> set[str]:
        """Return the cases whose episode and score are both there."""
        played = {row["case"] for row in self._rows("episodes.jsonl")}
        return played & {row["case"] for row in self._rows("scores.jsonl")}

    def scores(self) -> dict[str, Score]:
        """Return the scores by case; the last line of a case counts."""
        scores = (_SCORE.validate_python(row) for row in self._rows("scores.jsonl"))
        return {score.case: score for score in scores}

    def add(self, episode: Episode, case: Plain, score: Score) -> None:
        """Append a finished episode with its score; the score's line comes last."""
        row = {
            "case": episode.case,
            **case,
            "finish": episode.finish,
            "sampled": episode.sampled,
            "stored": episode.stored,
            "log": _EVENTS.dump_python(list(episode.trajectory.log), mode="json"),
        }
        self._append("episodes.jsonl", row)
        self._append("scores.jsonl", _SCORE.dump_python(score, mode="json"))

    def write(self, name: str, text: str) -> None:
        """Write a whole file, so that nobody ever reads half of it."""
        aside = self.path / f".{name}.new"
        with aside.open("w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path / name)

    def _open(self, decides: Plain, start: Plain) -> None:
        decides = json.loads(json.dumps(decides, default=str))
        here = self.path / "manifest.json"
        new: Plain = {"decides": decides, "starts": []}
        manifest = self.manifest if here.exists() else new
        if manifest["decides"] != decides:
            keys = ", ".join(sorted(_differing(manifest["decides"], decides)))
            raise RunError(
                f"{str(self.path)!r} holds a run with other settings: {keys}. "
                "Give this run another name=, or move the folder away"
            )
        manifest["starts"].append({**start, **_circumstances()})
        self.write("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        for name in ("episodes.jsonl", "scores.jsonl"):
            _drop_torn_line(self.path / name)

    def _rows(self, name: str) -> Iterator[Plain]:
        path = self.path / name
        if not path.exists():
            return
        with path.open("rb") as file:  # bytes: a torn line may end inside a character
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def _append(self, name: str, row: Plain) -> None:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
        try:
            with (self.path / name).open("a", encoding="utf-8", errors="surrogatepass") as file:
                file.write(line)
        except OSError as error:
            raise RunError(f"cannot write to {str(self.path / name)!r}: {error}") from None


def _circumstances() -> Plain:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _drop_torn_line(path: Path) -> None:
    """Cut a file back to its last whole line."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def _differing(one: object, other: object, key: str = "") -> Iterator[str]:
    """Yield the dotted keys in which two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            inner = f"{key}.{name}" if key else str(name)
            yield from _differing(one.get(name), other.get(name), inner)
    elif one != other:
        yield f"{key} ({one!r} there, {other!r} here)"
