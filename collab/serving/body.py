"""Bodies: JSON of bounded size and depth in, errors in OpenAI's shape out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from collab.core.bounded_json import parse_json
from collab.serving.backend import WireError

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object (`Any`: whatever the API puts there)."""
LONGEST = 8 * 1024 * 1024
"""The largest body of a request (bytes)."""
PAUSE, DISCARD = 1.0, 10.0
"""How long a client whose request is refused may pause, or go on, sending (seconds)."""
SHOWN = 300
"""How much of a message an error shows; what a client sent may be in it (characters)."""
KINDS = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    503: "ServiceUnavailableError",
}


def error_body(message: str, status: int, param: str | None = None) -> JsonObject:
    """Describe an error in OpenAI's shape."""
    kind = KINDS.get(status, "BadRequestError" if status < 500 else "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def error_response(error: WireError, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error in OpenAI's shape, in ASCII: it may repeat what no UTF-8 can hold."""
    content = json.dumps(error_body(error.message, error.status, error.param))
    return Response(content, error.status, headers, "application/json")


async def on_wire_error(request: Request, error: Exception) -> Response:
    """Answer a request that a route refused."""
    assert isinstance(error, WireError)
    return error_response(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes: 404 or 405."""
    assert isinstance(error, HTTPException)
    said = f"{error.detail}: {request.method} {shortened(request.scope['path'])}"
    return error_response(WireError(said, status=error.status_code), error.headers)


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer a request that failed here."""
    return error_response(WireError(f"{type(error).__name__}: {error}", status=500))


async def read_body(receive: Receive, longest: int = LONGEST) -> bytes | None:
    """Read a request's body; None where the client went away before its end.

    Raises:
        WireError: The body has more than `longest` bytes.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > longest:
            if more:
                await discard(receive)
            raise too_long(longest)
    return bytes(body)


async def discard(receive: Receive) -> None:
    """Throw away the rest of a body: a client that still sends does not see the answer.

    A client that pauses, or goes on and on, is not waited for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD):
            more = True
            while more:
                message = await asyncio.wait_for(receive(), PAUSE)
                more = message["type"] != "http.disconnect" and message.get("more_body", False)


def too_long(longest: int = LONGEST) -> WireError:
    """Say that a body is too long."""
    return WireError(f"the body is too long: at most {longest:,} bytes are read", status=413)


def replay(body: bytes, receive: Receive) -> Receive:
    """Give an app a body that was read already, then whatever comes after it."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return again


async def read_json(request: Request) -> JsonObject:
    """Return a request's body: a JSON object in UTF-8, without NaN and lone surrogates.

    Raises:
        WireError: It is something else, or nested deeper than 200 levels.
    """
    raw = await request.body()
    try:
        body: object = parse_json(raw, strict=True)
    except ValueError as error:
        raise WireError(f"the body is no JSON: {error}", param=_surrogate(raw)) from error
    if not isinstance(body, dict):
        raise WireError(f"the body must be a JSON object, not {shortened(json.dumps(body))}")
    return body


def shortened(text: str) -> str:
    """Cut a text that an error repeats."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _surrogate(raw: bytes) -> str | None:
    """Name the field with half a surrogate pair, which no UTF-8 can hold."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    for name, value in body.items() if isinstance(body, dict) else ():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return name if name.isascii() else None
    return None
