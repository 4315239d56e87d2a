"""Request and error bodies: read JSON of bounded size and depth, write errors as OpenAI does."""

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
"""A JSON object (`Any`: the API's values differ by field)."""
LONGEST = 8 * 1024 * 1024
"""The largest body of a request (bytes)."""
PAUSE, DISCARD = 1.0, 10.0
"""For a refused request: the longest pause between two parts of its body, and the longest time in
which the rest of it is read (seconds)."""
SHOWN = 300
"""How much of a client's text an error message repeats (characters)."""
KINDS = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    503: "ServiceUnavailableError",
}


def error_body(message: str, status: int, param: str | None = None) -> JsonObject:
    """Return an error in OpenAI's format."""
    kind = KINDS.get(status, "BadRequestError" if status < 500 else "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def error_response(error: WireError, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error in OpenAI's format.

    The body is ASCII, because the message may repeat lone surrogates, which UTF-8 cannot encode.
    """
    content = json.dumps(error_body(error.message, error.status, error.param))
    return Response(content, error.status, headers, "application/json")


async def on_wire_error(request: Request, error: Exception) -> Response:
    """Answer a request that a route refused."""
    assert isinstance(error, WireError)
    return error_response(error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that matches no route, with 404 or 405."""
    assert isinstance(error, HTTPException)
    message = f"{error.detail}: {request.method} {shortened(request.scope['path'])}"
    return error_response(WireError(message, status=error.status_code), error.headers)


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer a request that failed in the server, with 500."""
    return error_response(WireError(f"{type(error).__name__}: {error}", status=500))


async def read_body(receive: Receive, longest: int = LONGEST) -> bytes | None:
    """Read a request's body; return None if the client disconnects before its end.

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
    """Read and drop the rest of a body, because a client reads no answer while it still sends.

    Give up when the client pauses for `PAUSE` seconds, or after `DISCARD` seconds in total.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD):
            more = True
            while more:
                message = await asyncio.wait_for(receive(), PAUSE)
                more = message["type"] != "http.disconnect" and message.get("more_body", False)


def too_long(longest: int = LONGEST) -> WireError:
    """Return the error for a body that is too long."""
    return WireError(f"the body is too long: at most {longest:,} bytes are accepted", status=413)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was already read, then the messages after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def read_json(request: Request) -> JsonObject:
    """Parse a request's body: a JSON object in UTF-8, without NaN and lone surrogates.

    Raises:
        WireError: The body is something else, or nested deeper than 200 levels.
    """
    raw = await request.body()
    try:
        body: object = parse_json(raw, strict=True)
    except ValueError as error:
        raise WireError(f"the body is not JSON: {error}", param=_surrogate(raw)) from error
    if not isinstance(body, dict):
        raise WireError(f"the body must be a JSON object, not {shortened(json.dumps(body))}")
    return body


def shortened(text: str) -> str:
    """Shorten a text for an error message that repeats it."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _surrogate(raw: bytes) -> str | None:
    """Find the field that holds half a surrogate pair, which UTF-8 cannot encode."""
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
