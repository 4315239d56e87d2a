"""What a draw is called: its key, its seed, and the numbers that keep evidence out of the bank."""

from __future__ import annotations

import json
from hashlib import blake2b

from pydantic_core import to_json

from collab.sampling import OpenTurn, Request
from collab.trajectory import Json

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
    return _hash(_source(request) | cut).hex()


def key_of(digest: str, draw: int) -> str:
    """Name one draw of the request with this digest."""
    return f"{digest}-{draw}"


def seed_of(request: Request, draw: int) -> int:
    """Return the seed to send for a draw.

    It grows by one with the draw: choice i of a request for n choices is draw `draw + i`. Where the
    text is cut (max_tokens, stop) does not change it: a longer text begins as the shorter one did.
    Nor does the run that has it.
    """
    return _number(_source(request)) % 2**31 + draw


def fresh_draw(case_id: str, nth: int) -> int:
    """Return the draw of a case that asks one prompt for the `nth` time.

    It is free of order and never a bank draw: nothing selected by its outcome is evidence again.
    """
    return BANK + _number([case_id, nth]) % 2**30


def _source(request: Request) -> dict[str, Json]:
    prompt = request.prompt
    return {
        "model": request.model,
        "prompt": prompt.plain if isinstance(prompt, OpenTurn) else prompt,
        "sampling": request.sampling.model_dump(),
        "replicate": request.replicate,
    }


def _number(value: Json) -> int:
    return int.from_bytes(_hash(value)[:8], "big")


def _hash(value: Json) -> bytes:
    ids = value.get("prompt") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(ids, tuple):
        text = _dumps(value | {"prompt": None}).encode()
        text = text.replace(b'"prompt":null', b'"prompt":' + to_json(ids))  # the same, but fast
    else:
        text = _dumps(value).encode()
    return blake2b(text, digest_size=16).digest()


def _dumps(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
