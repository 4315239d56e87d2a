"""The key, seed and number of a draw; evidence is drawn with numbers outside the bank's."""

from __future__ import annotations

import json
from hashlib import blake2b

from collab.core.sampling import Request
from collab.core.trajectory import Json

BANK = 2**20
"""The bank uses draw numbers below this one; all other uses take numbers from here on."""


def digest_of(request: Request) -> str:
    """Return the digest of everything that decides a request's draws (128 bits in hex).

    The order of the stop strings matters, because a server looks for them in that order.
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
    """Identify a request's prompt and sampling, without the settings that cut the text."""
    return _hash(request), request.scored, request.run


def key_of(digest: str, draw: int) -> str:
    """Return the key of one draw of the request with this digest."""
    return f"{digest}-{draw}"


def seed_of(request: Request, draw: int) -> int:
    """Return the seed to send for a draw.

    The seed grows by one with the draw: choice i of a request for n choices is draw `draw + i`. It
    does not depend on the settings that cut the text (max_tokens, stop), so that a longer text
    starts like the shorter one. Nor does it depend on the run.
    """
    return _number(_hash(request)) % 2**31 + draw


def fresh_draw(case_id: str, nth: int) -> int:
    """Return the draw number for the `nth` request of a prompt in a case.

    The number does not depend on the order of the episodes, and is never in the bank's range:
    draws that were selected by their outcome are not used again as evidence.
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
