"""A file that grows line by line, each a JSON object: a line is there whole, or it is not there.

What a stop in mid-line leaves is cut off before the next line is written, and never read as data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from itertools import count
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from collab.errors import RunError
from collab.runs.enclosed import HUGE, opened, parse

Plain = dict[str, Any]  # any: JSON as it stands in a file
T = TypeVar("T")
LONGEST = 2**28
"""Bytes that a line may have."""


@dataclass(frozen=True)
class JsonLines:
    """The lines of one file, which need not be there yet."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        """Yield the whole lines.

        Raises:
            RunError: The file cannot be read, or a line is longer than `LONGEST`.
        """
        return (line for _, line in self.placed())

    def placed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the whole lines, each with the byte where it begins.

        Raises:
            RunError: The file cannot be read, or a line is longer than `LONGEST`.
        """
        if not self.path.exists():
            return
        with self._opened() as file:  # bytes: a torn line may end inside a character
            at = 0
            for number in count(1):
                line = file.readline(LONGEST)
                if len(line) == LONGEST:
                    raise self._damaged(f"line {number}", f"longer than {LONGEST:,} bytes")
                if not line.endswith(b"\n"):
                    return
                yield at, line
                at += len(line)

    def values(self, kind: TypeAdapter[T]) -> Iterator[T]:
        """Yield what the whole lines hold; a blank line holds nothing.

        Raises:
            RunError: A line holds something else.
        """
        for number, line in enumerate(self, 1):
            try:
                if HUGE.search(line):
                    raise ValueError  # looked at below
                yield kind.validate_json(line)
            except ValueError:  # perhaps half a surrogate pair, which pydantic does not read
                if line.strip():
                    yield self._second_look(kind, line, f"line {number}")

    def row(self, at: int) -> Plain:
        """Return what the line that begins at byte `at` holds.

        Raises:
            RunError: It is no JSON object.
        """
        with self._opened() as file:
            file.seek(at)
            line = file.readline(LONGEST)
        try:
            return self.row_of(line)
        except ValueError as error:
            raise self.damaged_at(at, error) from None

    @staticmethod
    def row_of(line: bytes) -> Plain:
        """Read a line.

        Raises:
            ValueError: It is no JSON object.
        """
        row = parse(line)
        if not isinstance(row, dict):
            raise ValueError("no JSON object")
        return row

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

    def heads(self, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield how the whole line at each place begins; empty where none begins there.

        Args:
            places: A byte, and how many are read from there on.
        """
        if not self.path.exists():
            yield from (b"" for _ in places)
            return
        with self._opened() as file:
            end = _end(file)
            for at, length in places:
                file.seek(max(at - 1, 0))
                head = file.read(length + 1)
                begins = at < end and (at == 0 or head.startswith(b"\n"))
                yield (head[1:] if at else head[:length]) if begins else b""

    def damaged_at(self, at: int, why: object) -> RunError:
        """Return what to raise where the line at a byte holds something else than it must."""
        with self._opened() as file:
            before, left = 0, at
            while left > 0 and (part := file.read(min(left, 1 << 20))):
                before, left = before + part.count(b"\n"), left - len(part)
        return self._damaged(f"at byte {at}", f"line {before + 1}: {why}")

    def _opened(self) -> IO[bytes]:
        try:
            return opened(self.path)
        except OSError as error:
            said = error.strerror or error
            raise RunError(f"cannot read {str(self.path)!r}: {said}") from None

    def _second_look(self, kind: TypeAdapter[T], line: bytes, where: str) -> T:
        try:
            return kind.validate_python(parse(line))
        except ValidationError as error:
            raise self._damaged(where, first_fault(error)) from None
        except (ValueError, RecursionError) as error:
            raise self._damaged(where, error) from None

    def _damaged(self, where: str, why: object) -> RunError:
        return RunError(
            f"{str(self.path)!r}, {where}: damaged ({why}); take the line out, and its episode is "
            "played again"
        )


def first_fault(error: ValidationError) -> str:
    """Say in a few words the first thing that is wrong, and where; values are left out."""
    found = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else found["msg"]


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
            f"cannot write {str(path)!r}: {error.strerror or error}; the same command goes on once "
            "there is space and permission"
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
