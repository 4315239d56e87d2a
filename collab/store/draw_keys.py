"""What a draw is called: its key, its seed, and the numbers that keep evidence out of the bank."""

from __future__ import annotations

import json
from hashlib import blake2b

from collab.core.sampling import Request
from collab.core.trajectory import Json

BANK = 2**20
"""The bank holds draws below this number; everything else draws at or above it."""


def digest_of(request: Request) -> str:
    """Name a request by all that decides its draws (128 bits in hex).

    The order of the stop strings counts: a server looks for them in that order.
    """
    cut: dict[str, Json] = {
        "max_tokens": request.max_tokens,
        "stop": request.stop,
        "logprobs": request.logprobs,
    }
    if request.scored:
        cut["scored"] = request.scored
    if request.run:
        cut["run"] = request.run
    return _hash(request, cut).hex()


def prompt_of(request: Request) -> tuple[bytes, int, str]:
    """Name a request by its prompt and how it is drawn from, wherever the text is cut."""
    return _hash(request), request.scored, request.run


def key_of(digest: str, draw: int) -> str:
    """Name one draw of the request with this digest."""
    return f"{digest}-{draw}"


def seed_of(request: Request, draw: int) -> int:
    """Return the seed to send for a draw.

    It grows by one with the draw: choice i of a request for n choices is draw `draw + i`. Where the
    text is cut (max_tokens, stop) does not change it: a longer text begins as the shorter one did.
    Nor does the run that has it.
    """
    return _number(_hash(request)) % 2**31 + draw


def fresh_draw(case_id: str, nth: int) -> int:
    """Return the draw of a case that asks one prompt for the `nth` time.

    It is free of order and never a bank draw: nothing selected by its outcome is evidence again.
    """
    return BANK + _number(_digest(_dumps([case_id, nth]))) % 2**30


def _hash(request: Request, cut: dict[str, Json] | None = None) -> bytes:
    source: dict[str, Json] = {
        "model": request.model,
        "prompt": None,
        "sampling": request.sampling.model_dump(),
        "replicate": request.replicate,
    }
    text = _dumps(source | (cut or {}))
    return _digest(text.replace(b'"prompt":null', b'"prompt":' + request.spelled))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


def _dumps(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
