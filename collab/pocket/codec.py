"""A checkpoint's tokenizer, which also gives the bytes of each token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from collab.errors import ConfigError


class Codec:
    """A byte-level BPE tokenizer: the bytes of a text are those of its tokens, joined.

    A network may have more ids (`size`) than the tokenizer has tokens. The others have no text.
    """

    def __init__(self, folder: Path, size: int) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ConfigError(f"{str(path)!r} is missing: its folder is not a checkpoint")
        self._tokenizer = Tokenizer.from_file(str(path))
        added = self._tokenizer.get_added_tokens_decoder()
        names = [self._tokenizer.id_to_token(i) or "" for i in range(size)]
        self.bytes = [
            name.encode() if i in added else bytes(map(_BYTES.__getitem__, name))
            for i, name in enumerate(names)
        ]
        """The bytes of each token."""
        special = {i for i, token in added.items() if token.special}
        self.texts = [b"" if i in special else text for i, text in enumerate(self.bytes)]
        """The bytes of each token, empty for special tokens."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Tokenize a text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Decode tokens, including special ones."""
        return b"".join(self.bytes[i] for i in ids).decode(errors="replace")


def _byte_names() -> dict[str, int]:
    """Return the byte of each character in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + i): byte for i, byte in enumerate(rest)}


_BYTES = _byte_names()
