"""A cache of the keys and values of earlier sequences, in blocks keyed by all tokens up to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from collab.pocket.kernel import Floats
from collab.pocket.model import KeyValueCache

BLOCK = 32
"""Tokens of a block; only whole blocks are reused."""


class PrefixCache:
    """The most recently used blocks, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._blocks: OrderedDict[bytes, Floats] = OrderedDict()

    def load(self, cache: KeyValueCache, slot: int, ids: Sequence[int]) -> int:
        """Fill a slot with the longest cached prefix of `ids`, and return its length.

        The prefix never includes the last token, because the logits after it are still needed.
        """
        known = 0
        for key in _keys(ids[:-1]):
            block = self._blocks.get(key)
            if block is None:
                break
            self._blocks.move_to_end(key)
            cache.reserve(slot + 1, known + BLOCK)
            cache.data[:, :, slot, :, known : known + BLOCK] = block
            known += BLOCK
        return known

    def save(self, cache: KeyValueCache, slot: int, ids: Sequence[int]) -> None:
        """Cache the whole blocks of a slot that holds `ids`."""
        for number, key in enumerate(_keys(ids)):
            if key in self._blocks:
                self._blocks.move_to_end(key)
                continue
            start = number * BLOCK
            block = cache.data[:, :, slot, :, start : start + BLOCK].copy()
            self._blocks[key] = block
            self._bytes += block.nbytes
        while self._bytes > self._most_bytes:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes


def _keys(ids: Sequence[int]) -> Iterator[bytes]:
    """Yield a key for each whole block, made from all tokens up to its end."""
    raw, key = np.array(ids, np.int32).tobytes(), b""
    for start in range(0, len(ids) // BLOCK * BLOCK * 4, BLOCK * 4):
        key = blake2b(key + raw[start : start + BLOCK * 4], digest_size=16).digest()
        yield key
