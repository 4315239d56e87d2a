"""Read rows from the file formats of question sets."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from collab.core.release import extra
from collab.errors import ConfigError
from collab.questions.table import BadRow, Row

LONGEST = 2**28
"""Longest line, or whole json file (characters)."""
Rows = Iterator[tuple[str, Row | BadRow]]


def rows_of(path: Path, name: str, suffix: str | None = None) -> Rows:
    """Yield a file's rows, each with its place (`name:number`).

    Args:
        path: The file.
        name: Its name in errors; the suffix gives the format.
        suffix: The format, if the name does not give it.

    Raises:
        ConfigError: The file cannot be read, has an unknown format, or needs a package that is not
            installed.
    """
    suffix = suffix or Path(name.removesuffix(".gz")).suffix
    if suffix not in READERS:
        known = ", ".join(sorted(READERS))
        raise ConfigError(f"{name!r} has an unknown format (known: {known}, each also as .gz)")
    try:
        yield from READERS[suffix](path, name)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise ConfigError(f"cannot read {name!r}: {error}") from None


def _json_lines(path: Path, name: str) -> Rows:
    with _opened(path) as file:
        for number in count(1):
            line = file.readline(LONGEST)
            if not line:
                return
            if len(line) == LONGEST:
                raise ValueError(f"line {number} has {LONGEST:,} characters or more")
            if line.strip():
                yield f"{name}:{number}", _parsed(line)


def _parsed(line: str) -> Row | BadRow:
    try:
        row = json.loads(line)
    except ValueError as error:
        return BadRow(f"is not JSON: {error}")
    except RecursionError:
        return BadRow("is not JSON that can be read: it is nested too deep")
    return row if isinstance(row, Mapping) else BadRow("is not a JSON object")


def _json(path: Path, name: str) -> Rows:
    with _opened(path) as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise ValueError(f"it holds more than {LONGEST:,} characters; convert it to jsonl")
    try:
        rows = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(rows, list):
        raise ValueError("it is not a list of rows")
    for number, row in enumerate(rows, 1):
        yield (
            f"{name}:{number}",
            row if isinstance(row, Mapping) else BadRow("is not a JSON object"),
        )


def _csv(path: Path, name: str) -> Rows:
    with _opened(path) as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            yield f"{name}:{number}", row


def _parquet(path: Path, name: str) -> Rows:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"reading the parquet file {name} needs an extra: {extra('hf')}"
        ) from error
    number = 0
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            rows: list[dict[str, Any]] = batch.to_pylist()  # any: JSON
            for row in rows:
                number += 1
                yield f"{name}:{number}", row


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not, with or without a byte order mark.

    A bare CR does not end a line.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")


READERS: Mapping[str, Callable[[Path, str], Rows]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
