"""A file that grows line by line, each a JSON object: a line is there whole, or it is not there.

What a stop in mid-line leaves is cut off before the next line is written, and never read as data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from collab.errors import RunError

Plain = dict[str, Any]  # any: JSON as it stands in a file
T = TypeVar("T")


@dataclass(frozen=True)
class Lines:
    """The lines of one file, which need not be there yet."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        """Yield the whole lines."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:  # bytes: a torn line may end inside a character
            yield from (line for line in file if line.endswith(b"\n"))

    def values(self, kind: TypeAdapter[T]) -> Iterator[T]:
        """Yield what the whole lines hold.

        Raises:
            RunError: A line holds something else.
        """
        for number, line in enumerate(self, 1):
            try:
                yield kind.validate_json(line)
            except ValidationError:  # perhaps half a surrogate pair, which pydantic does not read
                yield self._second_look(kind, line, f"line {number}")

    def row(self, at: int) -> Plain:
        """Return what the line that begins at byte `at` holds.

        Raises:
            RunError: It is no JSON.
        """
        with self.path.open("rb") as file:
            file.seek(at)
            return self._row(file.readline(), f"at byte {at}")

    def append(self, row: Plain) -> int:
        """Append a line, whole or not at all, and return the byte where it begins.

        Raises:
            RunError: The disk is full, or the file cannot be written.
        """
        line = line_of(row).encode("utf-8", "surrogatepass")
        with written(self.path), self.path.open("ab", buffering=0) as file:
            at = file.tell()
            if file.write(line) < len(line):
                file.truncate(at)  # nothing may come behind half a line
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        return at

    def mend(self) -> None:
        """Cut off a torn last line."""
        if self.path.exists():
            with self.path.open("rb+") as file:
                file.truncate(_end(file))

    def found(self, wanted: Mapping[str, tuple[int, bytes]]) -> Iterator[str]:
        """Yield the names under which stand a byte and how the whole line there begins."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            end = _end(file)
            for name, (at, begin) in wanted.items():
                file.seek(max(at - 1, 0))
                expected = b"\n" + begin if at else begin
                if at < end and file.read(len(expected)) == expected:
                    yield name

    def _second_look(self, kind: TypeAdapter[T], line: bytes, where: str) -> T:
        try:
            return kind.validate_python(self._row(line, where))
        except ValidationError as error:
            raise self._damaged(where, error.errors()[0]["msg"]) from None

    def _row(self, line: bytes, where: str) -> Plain:
        try:
            row: Plain = json.loads(line)
        except ValueError as error:
            raise self._damaged(where, error) from None
        return row

    def _damaged(self, where: str, why: object) -> RunError:
        return RunError(
            f"{str(self.path)!r}, {where}: damaged ({why}); take the line out, and its episode is "
            "played again"
        )


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what a disk says into the one error that stops a run.

    Raises:
        RunError: The file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}; what was sampled is in the "
            "store, and the same command goes on once there is space and permission"
        ) from None


def line_of(row: Plain) -> str:
    """Return the line that holds a row."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def _end(file: IO[bytes], step: int = 1 << 16) -> int:
    """Return the byte behind a file's last line break."""
    at = file.seek(0, os.SEEK_END)
    while at:
        begin = max(at - step, 0)
        file.seek(begin)
        if (found := file.read(at - begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        at = begin
    return 0
