"""An append-only file of JSON objects, one per line; a line is stored completely or not at all.

A torn last line is cut off before the next line is written, and is never read as data.
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

from collab.core.bounded_json import HUGE, parse_json
from collab.errors import RunError
from collab.runs.enclosed import opened

Plain = dict[str, Any]  # any: JSON as stored in a file
T = TypeVar("T")
LONGEST = 2**28
"""The longest line (bytes)."""


@dataclass(frozen=True)
class JsonLines:
    """The lines of a file that need not exist yet."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        """Yield the complete lines.

        Raises:
            RunError: The file cannot be read, or a line is longer than `LONGEST`.
        """
        return (line for _, line in self.placed())

    def placed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the complete lines, each with the byte where it begins.

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
        """Yield the values of the complete lines; blank lines are skipped.

        Raises:
            RunError: A line does not hold such a value.
        """
        for number, line in enumerate(self, 1):
            try:
                if HUGE.search(line):
                    raise ValueError  # checked again below
                yield kind.validate_json(line)
            except ValueError:  # perhaps half a surrogate pair, which pydantic cannot read
                if line.strip():
                    yield self._second_look(kind, line, f"line {number}")

    def row(self, at: int) -> Plain:
        """Return the object in the line that begins at byte `at`.

        Raises:
            RunError: It is not a JSON object.
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
        """Parse a line.

        Raises:
            ValueError: It is not a JSON object.
        """
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object")
        return row

    def append(self, row: Plain) -> int:
        """Append a line, completely or not at all, and return the byte where it begins.

        Raises:
            RunError: The disk is full, or the file cannot be written.
        """
        line = line_of(row).encode("utf-8", "surrogatepass")
        with written(self.path), self.path.open("ab", buffering=0) as file:
            at = file.tell()
            if file.write(line) < len(line):
                file.truncate(at)  # nothing may follow half a line
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        return at

    def mend(self) -> None:
        """Cut off a torn last line."""
        if self.path.exists():
            with self.path.open("rb+") as file:
                file.truncate(_end(file))

    def heads(self, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the first bytes of the complete line at each place; empty if no line begins there.

        Args:
            places: A byte, and how many bytes to read from there.
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
        """Return the error for a line at a byte that does not hold what it should."""
        with self._opened() as file:
            before, left = 0, at
            while left > 0 and (part := file.read(min(left, 1 << 20))):
                before, left = before + part.count(b"\n"), left - len(part)
        return self._damaged(f"at byte {at}", f"line {before + 1}: {why}")

    def _opened(self) -> IO[bytes]:
        try:
            return opened(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"cannot read {str(self.path)!r}: {reason}") from None

    def _second_look(self, kind: TypeAdapter[T], line: bytes, where: str) -> T:
        try:
            return kind.validate_python(parse_json(line))
        except ValidationError as error:
            raise self._damaged(where, first_fault(error)) from None
        except (ValueError, RecursionError) as error:
            raise self._damaged(where, error) from None

    def _damaged(self, where: str, why: object) -> RunError:
        return RunError(
            f"{str(self.path)!r}, {where}: damaged ({why}); remove the line, and its episode is "
            "played again"
        )


def first_fault(error: ValidationError) -> str:
    """Describe the first error of a validation and its place, without the value."""
    found = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else found["msg"]


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn errors of the disk into the error that stops a run.

    Raises:
        RunError: The file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}; free space or fix its "
            "permissions, then run the same command to continue"
        ) from None


def line_of(row: Plain) -> str:
    """Return the line that holds a row."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def _end(file: IO[bytes], step: int = 1 << 16) -> int:
    """Return the byte after the last line break of a file."""
    at = file.seek(0, os.SEEK_END)
    while at:
        begin = max(at - step, 0)
        file.seek(begin)
        if (found := file.read(at - begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        at = begin
    return 0
