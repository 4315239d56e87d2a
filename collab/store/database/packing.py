"""A generation as the bytes that a row holds: JSON, compressed, with zlib's checksum behind it.

A field that a generation has later needs no new column: older bytes read as its default.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict
from typing import Any

from collab.core.sampling import Generation, Logprobs
from collab.core.trajectory import Json
from collab.errors import StoreError


def pack(generation: Generation) -> bytes:
    """Return everything of a generation but its key."""
    fields = asdict(generation)
    del fields["key"]
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode())


def unpack(body: bytes, key: str) -> Generation:
    """Return the generation with this key.

    Raises:
        StoreError: The bytes are not what was written.
    """
    try:
        fields: dict[str, Any] = json.loads(zlib.decompress(body))  # Any: what `pack` wrote
        if said := fields.pop("logprobs", None):
            fields["logprobs"] = Logprobs(**_fields(said))
        return Generation(**_fields(fields), key=key)
    except (zlib.error, ValueError, TypeError) as error:
        raise StoreError(f"generation {key} is damaged in the store ({error})") from error


def pack_key(key: str) -> bytes:
    """Return a key in 20 bytes that sort by request and draw: `<32 hex digits>-<draw>`.

    A partial's key, `<key>/<8 hex digits>`, takes four more, so that it is never a draw's.
    """
    whole, _, partial = key.partition("/")
    digest, _, draw = whole.rpartition("-")
    return bytes.fromhex(digest) + struct.pack(">I", int(draw)) + bytes.fromhex(partial)


def unpack_key(packed: bytes) -> str:
    """Return the key that was packed."""
    (draw,) = struct.unpack(">I", packed[16:20])
    partial = f"/{packed[20:].hex()}" if packed[20:] else ""
    return f"{packed[:16].hex()}-{draw}{partial}"


def _fields(packed: dict[str, Any]) -> dict[str, Any]:  # Any: what `pack` wrote
    return {name: _frozen(value) for name, value in packed.items()}


def _frozen(value: Json) -> object:
    """Turn JSON's lists back into tuples."""
    if not isinstance(value, list):
        return value
    return tuple(map(_frozen, value)) if value and isinstance(value[0], list) else tuple(value)
