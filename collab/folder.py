"""A run's folder: what was decided goes in whole, what happens goes in line by line.

The manifest is written once; entering a folder again checks that what decides the numbers is the
same. A finished episode is one line, flushed; a torn last line is dropped and its episode owed
again.
"""

from __future__ import annotations

import io
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
        folder = cls(path)
        with _written(path):
            path.mkdir(parents=True, exist_ok=True)
        with folder._locked():
            folder.write(".writer", f"{_who()}: {start.get('command', '')}")
            folder._open(decides, start)
            yield folder

    @property
    def manifest(self) -> Plain:
        """What the run is.

        Raises:
            RunError: There is none.
        """
        try:
            manifest: Plain = json.loads((self.path / "manifest.json").read_bytes())
        except OSError as error:
            raise RunError(f"{str(self.path)!r} is no run folder: {error}") from None
        except ValueError as error:
            raise RunError(
                f"{str(self.path / 'manifest.json')!r} is damaged ({error}); move the folder away, "
                "and the same command makes it again from the store"
            ) from None
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
        with _written(self.path / name):
            with aside.open("w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path / name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one who writes here.

        Raises:
            RunError: Somebody else is; the message says who.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            with _written(self.path):
                lock.acquire()
        except Timeout:
            writer = self.path / ".writer"
            who = writer.read_text(encoding="utf-8") if writer.exists() else "another process"
            raise RunError(f"{str(self.path)!r} is being written by {who}; wait for it") from None
        try:
            yield
        finally:
            lock.release()

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
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _row(line, f"{str(path)!r}, line {number}")

    def _append(self, name: str, row: Plain) -> None:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
        path = self.path / name
        with _written(path), path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                _write_all(file, line.encode("utf-8", "surrogatepass"))
            except OSError:
                file.truncate(end)  # nothing may come behind half a line
                raise


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn what a disk says into the one error that stops a run."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}; what was sampled is in the "
            "store, and the same command goes on once there is space and permission"
        ) from None


def _write_all(file: io.FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _row(line: bytes, where: str) -> Plain:
    try:
        row: Plain = json.loads(line)
    except ValueError as error:
        raise RunError(
            f"{where}: damaged ({error}); take the line out, and its episode is played again"
        ) from None
    return row


def _who() -> str:
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} since {now}"


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
