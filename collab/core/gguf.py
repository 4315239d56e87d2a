"""The metadata of a GGUF file: what it says of its model, tokenizer and chat template.

A GGUF file comes from strangers: all that is read has a bound, and the weights are not read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Self

from collab.errors import ConfigError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_BYTES = 256 * 1024 * 1024
"""Longest metadata that is read (bytes)."""
MOST_ENTRIES = 4 * 1024 * 1024
"""Most entries of the metadata, and of one array in it."""
NAME = re.compile(r"\.gguf(@[^/@]+)?$")
"""The end of a GGUF file's name, with a revision where it is on a hub."""
STRING, ARRAY = 8, 9
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""The types of numbers, as `struct` calls them."""
CONTROL, USER_DEFINED = 3, 4
"""Types of tokens: a control token is special, a user-defined one is matched whole."""

Number = int | float | bool
Value = Number | str | tuple[Number, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Gguf:
    """The metadata of one GGUF file."""

    path: Path
    values: Mapping[str, Value] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the metadata of a file, once per version of the file.

        Raises:
            ConfigError: The file cannot be read, or is no GGUF file of versions 2 or 3.
        """
        try:
            seen = path.stat()
            values = _read(path, seen.st_size, seen.st_mtime_ns)
        except (OSError, struct.error, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"{str(path)!r} cannot be read as a GGUF file: {error}") from error
        return cls(path, values)

    def text(self, key: str) -> str | None:
        """Return a value that is text; None if it is missing or none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """Return a value that is a whole number; None if it is missing or none."""
        value = self.values.get(key)
        return value if isinstance(value, int) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty if it is missing or none."""
        value = self.values.get(key)
        listed = value if isinstance(value, tuple) else ()
        return tuple(one for one in listed if isinstance(one, str))

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers; empty if it is missing or none."""
        value = self.values.get(key)
        listed = value if isinstance(value, tuple) else ()
        return tuple(one for one in listed if isinstance(one, int))

    @property
    def context(self) -> int | None:
        """The longest context that the model was trained for (tokens)."""
        return self.number(f"{self.text('general.architecture')}.context_length")

    @property
    def specials(self) -> dict[str, str]:
        """The special tokens that a chat template may name."""
        tokens = self.texts("tokenizer.ggml.tokens")
        names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
        ids = {name: self.number(f"tokenizer.ggml.{key}_token_id") for key, name in names.items()}
        return {
            f"{name}_token": tokens[index]
            for name, index in ids.items()
            if index is not None and 0 <= index < len(tokens)
        }


def is_gguf(source: str | Path) -> bool:
    """Tell whether a source names a GGUF file."""
    return NAME.search(str(source)) is not None


@lru_cache(8)
def _read(path: Path, size: int, changed: int) -> dict[str, Value]:
    with path.open("rb") as file:
        reader = _Reader(file)
        if reader.take(4) != MAGIC:
            raise ValueError("it does not begin with 'GGUF'")
        version = reader.number("I")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version} (known: {', '.join(map(str, VERSIONS))})")
        reader.number("Q")  # how many tensors
        return {reader.text(): reader.value() for _ in range(reader.count())}


class _Reader:
    """Reads values one after the other, and no more than is allowed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MOST_BYTES

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            ValueError: The metadata ends before, or is longer than what is read.
        """
        self._left -= size
        if self._left < 0:
            raise ValueError(f"its metadata is longer than the {MOST_BYTES:,} bytes that are read")
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it ends within its metadata")
        return data

    def number(self, kind: str) -> int:
        """Return the next whole number of a type of `struct`."""
        (value,) = struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))
        return int(value)

    def count(self) -> int:
        """Return the next number of entries."""
        count = self.number("Q")
        if count > MOST_ENTRIES:
            raise ValueError(f"it lists {count:,} entries, more than {MOST_ENTRIES:,}")
        return count

    def text(self) -> str:
        """Return the next text."""
        return self.take(self.number("Q")).decode(errors="replace")

    def value(self) -> Value:
        """Return the next value of any type."""
        kind = self.number("I")
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.number("I"), self.count()
            if inner == STRING:
                return tuple(self.text() for _ in range(count))
            return self._row(inner, count)
        (value,) = self._row(kind, 1)
        return value

    def _row(self, kind: int, count: int) -> tuple[Number, ...]:
        if kind not in NUMBERS:
            raise ValueError(f"it has a value of the unknown type {kind}")
        row = f"<{count}{NUMBERS[kind]}"
        return struct.unpack(row, self.take(struct.calcsize(row)))
