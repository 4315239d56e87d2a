"""A model's tokenizer on the client's side.

Exact token ids show exactly what a model read. The tokenizer is loaded from the file that the
server loads too. Its fingerprint identifies it, so that ids are never decoded with another one.

A tag such as ``<think>`` is parsed to its own token anywhere in a text, in the template's text and
in that of a model or another author; a server that is sent the same string does the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer as RawTokenizer
from tokenizers.decoders import DecodeStream

from collab.core.gguf import Gguf, is_gguf
from collab.core.release import extra
from collab.endpoints import gguf_tokenizer
from collab.errors import ConfigError

WINDOW, BEHIND = 1_000, 300
"""The last characters of a text in which encoding may restart, and how many must follow."""
_WORD = re.compile(r"(?<=\w)(?= [^\W\d_])")
"""The start of a word after another one, where tokenizers split."""
SEAM = 16
"""How many tokens on each side of a seam are looked at: no pre-token is as long."""


@dataclass(frozen=True)
class Tokenizer:
    """Text to token ids and back, exactly."""

    raw: RawTokenizer
    fingerprint: str
    """Names the tokenizer: a hash of its file."""
    end_ids: frozenset[int] = frozenset()
    """Special tokens, one of which ends a turn; none is part of a unit's text."""

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read `tokenizer.json` of a folder or Hugging Face id, or the tokenizer of a GGUF file.

        Raises:
            ConfigError: There is no such file, or it is no tokenizer.
        """
        found = model_files(source)
        if found.is_file():
            raw, special, fingerprint = gguf_tokenizer.build(Gguf.load(found))
            return cls(raw, fingerprint, special)
        content = (found / "tokenizer.json").read_bytes()
        try:
            raw = RawTokenizer.from_buffer(content)
        except Exception as error:  # the library raises bare exceptions
            raise ConfigError(f"cannot parse tokenizer.json of {str(source)!r}: {error}") from error
        raw.no_padding()
        raw.no_truncation()
        added = raw.get_added_tokens_decoder()
        ends = frozenset(index for index, token in added.items() if token.special)
        return cls(raw, hashlib.sha256(content).hexdigest()[:12], ends)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text`, encoded as one piece, without added tokens."""
        return tuple(self.raw.encode(text, add_special_tokens=False).ids)

    def grow(self, text: str, ids: tuple[int, ...], more: str) -> tuple[int, ...]:
        """Return `encode(text + more)` by encoding only its end; `ids` is `encode(text)`.

        Pre-tokenizers read from left to right, so a word that starts well before the seam also
        starts there in the longer text. Without a clean cut, the whole text is encoded.
        """
        cut = self._clean_cut(text, ids)
        if cut is None:
            return self.encode(text + more)
        at, kept = cut
        return ids[:kept] + self.encode(text[at:] + more)

    def _clean_cut(self, text: str, ids: tuple[int, ...]) -> tuple[int, int] | None:
        """Find a place where encoding may restart; return its positions in `text` and in `ids`.

        The end of `text` must have the same tokens, those of `ids`, when encoded from there and
        from a little before; and a pre-token must start there.
        """
        words = [found.start() for found in _WORD.finditer(text, max(len(text) - WINDOW, 0))]
        words = [at for at in words if at <= len(text) - BEHIND]
        if len(words) < 2:
            return None
        before, at = words[0], words[-1]
        tail = self.raw.encode(text[at:], add_special_tokens=False).ids
        window = self.raw.encode(text[before:], add_special_tokens=False)
        first, kept = len(window.ids) - len(tail), len(ids) - len(tail)
        same = kept > 0 and list(ids[kept:]) == tail == window.ids[first:]
        parted = first > 0 and window.word_ids[first - 1] != window.word_ids[first]
        return (at, kept) if same and parted else None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, special tokens written out."""
        return self.raw.decode(list(ids), skip_special_tokens=False)

    def ends(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return where each token ends in `decode(ids)` (characters).

        A token that ends inside a character ends where that character does.
        """
        whole = self.decode(ids)
        streamed = self._streamed_ends(ids, whole)
        return streamed if streamed is not None else self._prefix_ends(ids, whole)

    def seam(self, left: tuple[int, ...], right: tuple[int, ...]) -> int:
        """Count the tokens around a seam that encoding both sides as one piece would not give.

        The tokens compared are those between the last shared end before the seam and the first
        one after it.
        """
        ids = left + right
        mine, one_piece = self.ends(ids), self.encode(self.decode(ids))
        at = mine[len(left) - 1]
        common = {0, *mine} & {0, *self.ends(one_piece)}
        low = max(end for end in common if end <= at)
        high = min((end for end in common if end >= at), default=mine[-1])
        return sum(low < end <= high for end in mine)

    def without_end(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Drop the special tokens that close a turn from the end of `ids`."""
        keep = len(ids)
        while keep and ids[keep - 1] in self.end_ids:
            keep -= 1
        return ids[:keep]

    def has_end(self, text: str) -> bool:
        """Say whether a special token is written out in `text`."""
        return not self.end_ids.isdisjoint(self.encode(text))

    def _streamed_ends(self, ids: Sequence[int], whole: str) -> tuple[int, ...] | None:
        """Decode token by token; None where bytes are no valid text and the library loses track."""
        stream = DecodeStream([], False)
        ends: list[int] = []
        pieces: list[str] = []
        end = 0
        for count, index in enumerate(ids, start=1):
            try:
                piece = stream.step(self.raw, index)
            except Exception:  # the library raises bare exceptions
                return None
            if piece is not None:
                pieces.append(piece)
                ends += [end + one for one in self._prefix_ends(ids[len(ends) : count], piece)]
                end += len(piece)
        ends += [len(whole)] * (len(ids) - len(ends))
        return tuple(ends) if whole.startswith("".join(pieces)) else None

    def _prefix_ends(self, ids: Sequence[int], whole: str) -> tuple[int, ...]:
        """Decode every prefix: quadratic, and right for any decoder."""
        ends: list[int] = []
        for count in range(1, len(ids)):
            start = self.decode(ids[:count])
            if whole.startswith(start):  # else it ends inside a character
                end = max(len(start), ends[-1] if ends else 0)
                ends += [end] * (count - len(ends))
        return (*ends, *[len(whole)] * (len(ids) - len(ends)))


def model_files(source: str | Path) -> Path:
    """Find the folder of a model's tokenizer, or its GGUF file: on disk, or on the hub.

    Args:
        source: A folder, a GGUF file, or on the hub owner/name[@revision] or, for a GGUF file,
            owner/name/file.gguf[@revision].

    Raises:
        ConfigError: It is neither a folder with a tokenizer nor a file, nor can it be fetched.
    """
    found = Path(source)
    if (found / "tokenizer.json").exists() or (is_gguf(source) and found.is_file()):
        return found
    if is_gguf(source):
        return _file_from_hub(str(source))
    if found.exists() or str(source).count("/") != 1:
        what = "has no tokenizer.json" if found.exists() else "is neither a folder nor a hub id"
        raise ConfigError(
            f"{str(source)!r} {what}: set the model's checkpoint to a folder with a "
            "tokenizer.json, to a GGUF file, or to an owner/name of the hub"
        )
    return _folder_from_hub(str(source))


def _folder_from_hub(source: str) -> Path:
    wanted = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "config.json",
    ]
    folder = _fetch(source, wanted)
    if not (folder / "tokenizer.json").exists():
        raise ConfigError(
            f"{source!r} has no tokenizer.json on the hub; set checkpoint to a folder that has one"
        )
    return folder


def _file_from_hub(source: str) -> Path:
    named, _, revision = source.partition("@")
    parts = named.split("/", 2)
    if len(parts) < 3 or Path(source).is_absolute():
        raise ConfigError(
            f"{source!r} is no file here: set the model's checkpoint to a GGUF file, or to "
            "owner/name/file.gguf of the hub"
        )
    name, file = f"{parts[0]}/{parts[1]}", parts[2]
    found = _fetch(f"{name}@{revision}" if revision else name, [file]) / file
    if not found.is_file():
        raise ConfigError(f"{name!r} has no file {file!r} on the hub")
    return found


def _fetch(source: str, wanted: list[str]) -> Path:
    """Return the folder in the hub's cache with the wanted files, fetched where it lacks them."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"{source!r} is not a folder; to download it from the hub: {extra('hf')}"
        ) from error
    try:
        name, _, revision = source.partition("@")
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # network, access and naming errors share no base
        raise ConfigError(
            f"cannot download {wanted[0]} of {source!r}: {error}; check its spelling on the hub, "
            "or set checkpoint to a folder or file on this machine"
        ) from error
