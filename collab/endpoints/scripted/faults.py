"""The failures that a request can be scripted to have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

Failure = Literal[
    "bad_utf8",
    "drop",
    "error_body",
    "half_stream",
    "hang",
    "html",
    "loading",
    "not_json",
    "rate_limit",
    "rate_limit_date",
    "server_error",
    "slow",
    "truncate",
    "unauthorized",
    "wrong_model",
]
"""The failure of one request.

Refused: `unauthorized`, a 401 that repeats the key it was sent; `rate_limit`, a 429 with
Retry-After in seconds, `rate_limit_date` with a date; `server_error`, a 500; `loading`, a 503.
Not a reply of the API: `html`, `not_json`, `bad_utf8`, and `error_body`, an error with status 200.
Broken: `drop`, the connection is reset; `truncate`, half-way through the reply; `half_stream`, half
a reply and then silence; `hang`, silence at once. Answered, but: `slow`, late; `wrong_model`, by a
model with another name.
"""
BROKEN: frozenset[Failure] = frozenset({"drop", "truncate", "half_stream", "hang"})
ANSWERED: frozenset[Failure] = frozenset({"slow", "wrong_model"})
OTHER_MODEL = "another-model"
HALF = b'{"id": "cmpl-0", "choices": [{"index": 0, "te'
HALF_STREAM = b'data: {"id": "cmpl-0", "choices": [{"index": 0, "text": "So"}]}\n\n'
NOT_UTF8 = (
    b'{"id": "cmpl-0", "choices": [{"index": 0, "text": "\xff\xfe", "finish_reason": "stop"}]}'
)


async def break_off(failure: Failure, receive: Receive, send: Send, *, stream: bool) -> None:
    """Send half of a reply or nothing, then close the connection or wait until the client does."""
    if failure in ("truncate", "half_stream"):
        kind = b"text/event-stream" if stream else b"application/json"
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        half = HALF_STREAM if stream else HALF
        await send(start)
        await send({"type": "http.response.body", "body": half, "more_body": True})
    if failure in ("drop", "truncate"):
        hang_up(send)
    while (await receive())["type"] != "http.disconnect":
        pass


def no_answer(failure: Failure, scope: Scope, retry_after: float) -> Response:
    """Make a reply that is not one of the API."""
    match failure:
        case "unauthorized":
            key = dict(scope["headers"]).get(b"authorization", b"").decode()
            return JSONResponse(error(f"Incorrect API key provided: {key}"), 401)
        case "rate_limit" | "rate_limit_date":
            later = datetime.now(UTC) + timedelta(seconds=retry_after)
            dated = failure == "rate_limit_date"
            value = format_datetime(later, usegmt=True) if dated else f"{retry_after:g}"
            return JSONResponse(error("slow down"), 429, {"retry-after": value})
        case "loading":
            return JSONResponse(error("the model is still loading"), 503)
        case "html":
            return HTMLResponse("<html><body>Welcome to the proxy</body></html>")
        case "not_json":
            return PlainTextResponse("{", media_type="application/json")
        case "bad_utf8":
            return Response(NOT_UTF8, media_type="application/json")
        case "error_body":
            return JSONResponse(error("the model crashed"))
        case _:
            return JSONResponse(error("out of order"), 500)


def error(message: str) -> dict[str, object]:
    """Make an error in OpenAI's format."""
    return {"error": {"message": message}}


def hang_up(send: Send) -> None:
    """Cut the connection as a server that dies does."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's own cycle
    transport.abort()
