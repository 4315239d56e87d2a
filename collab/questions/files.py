"""Reading rows from the file formats that question sets come in."""

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
"""Characters that a line, or a whole json file, may have."""
Rows = Iterator[tuple[str, Row | BadRow]]


def rows_of(path: Path, name: str, suffix: str | None = None) -> Rows:
    """Yield a file's rows, each with its place (`name:number`).

    Args:
        path: Where it is.
        name: What errors call it; its end says the format.
        suffix: The format, whatever the name.

    Raises:
        ConfigError: It cannot be read, is of no known format, or needs a package that is not there.
    """
    suffix = suffix or Path(name.removesuffix(".gz")).suffix
    if suffix not in READERS:
        known = ", ".join(sorted(READERS))
        raise ConfigError(f"{name!r} is of no known format (known: {known}, each also as .gz)")
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
        return BadRow(f"is no JSON: {error}")
    except RecursionError:
        return BadRow("is no JSON that can be read: it is nested too deep")
    return row if isinstance(row, Mapping) else BadRow("is no JSON object")


def _json(path: Path, name: str) -> Rows:
    with _opened(path) as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise ValueError(f"it holds more than {LONGEST:,} characters; make it jsonl")
    try:
        rows = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(rows, list):
        raise ValueError("it holds no list of rows")
    for number, row in enumerate(rows, 1):
        yield f"{name}:{number}", row if isinstance(row, Mapping) else BadRow("is no JSON object")


def _csv(path: Path, name: str) -> Rows:
    with _opened(path) as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            yield f"{name}:{number}", row


def _parquet(path: Path, name: str) -> Rows:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f"{name} is a parquet file: {extra('hf')}") from error
    number = 0
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            rows: list[dict[str, Any]] = batch.to_pylist()  # any: JSON
            for row in rows:
                number += 1
                yield f"{name}:{number}", row


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open text, packed or not, with or without a byte order mark; a bare CR ends no line."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
        yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")


READERS: Mapping[str, Callable[[Path, str], Rows]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
