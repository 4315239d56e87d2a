"""Find the ends of a server's tokens in a text, for a model without a local tokenizer.

Servers return tokens in the spelling of the vocabulary: as text, in GPT-2's byte alphabet, or as
SentencePiece's pieces. The spelling that gives the text is the right one; if none does, the ends
are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from pydantic import BaseModel

from collab.endpoints.request_format import Body

_HEX = re.compile(r"<0x([0-9A-F]{2})>")


class _Piece(BaseModel):
    """A token as llama.cpp tells it: bytes where they are no text."""

    piece: str | list[int]


class Tokenized(BaseModel):
    """The reply to POST /tokenize of vLLM, SGLang and llama.cpp, as far as it is used here."""

    tokens: list[int | _Piece]
    token_strs: list[str] | None = None


def asking(served: str, text: str) -> tuple[Body, ...]:
    """Return the ways to ask: that of vLLM and SGLang, and llama.cpp's."""
    theirs: Body = {"prompt": text, "add_special_tokens": False, "return_token_strs": True}
    return (
        {"model": served, **theirs},
        {"model": served, "content": text, "add_special": False, "with_pieces": True},
    )


def ends_in(text: str, told: Tokenized) -> tuple[int, ...] | None:
    """Return where each token ends (characters), None where the reply does not spell the text.

    A token that ends inside a character ends where that character does.
    """
    own = [one.piece for one in told.tokens if isinstance(one, _Piece)]
    pieces: Sequence[str | list[int]] = told.token_strs or own
    whole = text.encode()
    for spell in (_plain, _stood_in, _sentence_piece):
        spelled = list(map(spell, pieces))
        joined = b"".join(spelled)
        if spelled and joined == b" " + whole:  # SentencePiece begins every text with a space
            spelled[0], joined = spelled[0][1:], whole
        if joined == whole:
            return _characters(text, spelled)
    return None


def _characters(text: str, spelled: Sequence[bytes]) -> tuple[int, ...]:
    """Turn the ends of tokens in bytes into ends in characters."""
    ends = list(accumulate(len(character.encode()) for character in text))
    found, at = [], 0
    for end in accumulate(map(len, spelled)):
        while at < len(ends) and (at == 0 or ends[at - 1] < end):
            at += 1
        found.append(at)
    return tuple(found)


def _plain(piece: str | list[int]) -> bytes:
    return piece.encode(errors="replace") if isinstance(piece, str) else bytes(piece)


def _stood_in(piece: str | list[int]) -> bytes:
    """Read GPT-2's alphabet, in which every byte is a visible character."""
    if not isinstance(piece, str) or not all(letter in _BYTES for letter in piece):
        return _plain(piece)
    return bytes(_BYTES[letter] for letter in piece)


def _sentence_piece(piece: str | list[int]) -> bytes:
    """Read SentencePiece's, in which ▁ is a space and bytes are written in hexadecimal."""
    if isinstance(piece, str) and (found := _HEX.fullmatch(piece)):
        return bytes.fromhex(found[1])
    return _plain(piece.replace("▁", " ") if isinstance(piece, str) else piece)


def _alphabet() -> dict[str, int]:
    """Map each letter of GPT-2's byte alphabet to its byte."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(0x100 + n): b for n, b in enumerate(hidden)}


_BYTES = _alphabet()
