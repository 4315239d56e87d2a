"""Pack a generation into the bytes of a row: JSON, compressed by zlib, which adds a checksum.

A new field of `Generation` needs no new column: older rows get its default.
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
    """Pack all fields of a generation except its key."""
    fields = asdict(generation)
    del fields["key"]
    return zlib.compress(json.dumps(fields, separators=(",", ":")).encode())


def unpack(body: bytes, key: str) -> Generation:
    """Unpack the generation with this key.

    Raises:
        StoreError: The bytes are damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(zlib.decompress(body))  # Any: what `pack` wrote
        if logprobs := fields.pop("logprobs", None):
            fields["logprobs"] = Logprobs(**_fields(logprobs))
        return Generation(**_fields(fields), key=key)
    except (zlib.error, ValueError, TypeError) as error:
        raise StoreError(f"generation {key} is damaged in the store ({error})") from error


def pack_key(key: str) -> bytes:
    """Pack a key, `<32 hex digits>-<draw>`, into 20 bytes that sort by request and draw.

    The key of a partial draw, `<key>/<8 hex digits>`, has 24 bytes, so it never equals a draw's.
    """
    whole, _, partial = key.partition("/")
    digest, _, draw = whole.rpartition("-")
    return bytes.fromhex(digest) + struct.pack(">I", int(draw)) + bytes.fromhex(partial)


def unpack_key(packed: bytes) -> str:
    """Unpack a key."""
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
