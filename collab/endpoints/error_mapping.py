"""Map the failures of requests to our own errors.

A failure that may pass becomes a `Retryable`, which the gate repeats; every other one is final.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic_core import from_json

from collab.core.secret import hide_text
from collab.endpoints.limits import Retryable, retry_after
from collab.errors import BadReply, ContextFull, Denied, EndpointError, Rejected, Unreachable

if TYPE_CHECKING:
    from httpx2 import Response

SHOWN = 120
"""How much of a strange answer an error shows (characters)."""
LONGEST = 2_000
"""How much of a server's own message (characters)."""
PASSING = frozenset({408, 409, 425, 429})
"""Refusals that may pass; so may every 5xx."""
CROWDED = frozenset({429, 503, 529})
"""The status codes of rate limits and overload."""
_FULL = re.compile(
    r"context_length_exceeded|context (length|window|size)|max(imum)?[_ ]model[_ ]len(gth)?"
    r"|maximum (input|sequence|prompt) length|(prompt|input) is too long|exceeds? .{0,40}\bcontext"
    r"|max_tokens must be at least 1, got 0",  # vLLM, if the prompt fills the context
    re.IGNORECASE,
)


def failed(url: str, error: Exception, setting: str, *, started: bool) -> Exception:
    """Map an error of a library to ours.

    A failed connection may be repeated. So may a broken reply, which does not mean that the server
    is dead. A reply that is not HTTP is final.

    Args:
        url: The address of the request.
        error: The library's error.
        setting: The setting with the server's address.
        started: Whether a reply had started.
    """
    cause = hide_text(_cause(error))
    if started:
        return Retryable(BadReply(f"{url} broke off its reply ({cause})"))
    if _is_away(error):
        return Retryable(
            Unreachable(f"cannot reach {url} ({cause}); start the server or set {setting}")
        )
    return BadReply(f"{url} sent a reply that is not HTTP ({cause}); check {setting}")


def _is_away(error: Exception) -> bool:
    """Say whether there was no answer at all."""
    from httpx2 import DecodingError, ProtocolError, TransportError

    if isinstance(error, ProtocolError):  # over a Unix socket a closed connection is one, too
        return "disconnected" in str(error)
    known = TransportError, OSError, ssl.SSLError
    return isinstance(error, known) and not isinstance(error, DecodingError)


@contextmanager
def readable(url: str) -> Iterator[None]:
    """Map the errors that Python raises on invalid values to a `BadReply`."""
    try:
        yield
    except (ValueError, ArithmeticError, LookupError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"[:SHOWN]
        raise BadReply(f"{url} sent a reply with impossible values ({why})") from None


def refused(url: str, response: Response, text: str) -> Exception:
    """Map an error status and its text to our error."""
    status, said = response.status_code, _error_text(text)
    where = f"{url} answered {status}"
    if status in PASSING or status >= 500:
        after = retry_after(response.headers.get("retry-after"), time.time())
        return Retryable(Unreachable(f"{where}: {said}"), after, crowded=status in CROWDED)
    if 300 <= status < 400:
        to = response.headers.get("location", "")[:LONGEST]
        return BadReply(f"{where}, a redirect to {to!r}; redirects are not followed: set base_url")
    if status in (401, 402, 403):
        return Denied(
            f"{where}: {said}; set the model's api_key_env to the environment variable that "
            "holds the API key"
        )
    if status == 404 and _message(text) is not None:
        return Denied(f"{where}: {said}; check the model's base_url and served")
    if status in (400, 413, 422) and _FULL.search(text):
        return ContextFull(f"{where}: {said}")
    return _plain(where, said, text)


def strange(url: str, body: bytes, why: str) -> BadReply:
    """Return the error for a reply that is not one of the API."""
    begin = body[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
    return BadReply(
        f"{url} sent a reply that is not JSON of the API ({why[:SHOWN]}): {begin!r}; "
        "does base_url point at an OpenAI-compatible server?"
    )


def broken(url: str, data: bytes) -> Retryable | None:
    """Return the failure that a stream's event announces, if it announces one."""
    if b'"error"' not in data or b'"choices"' in data:
        return None
    message = _error_text(data.decode(errors="replace"))
    return Retryable(Unreachable(f"{url} stopped its reply with an error: {message}"))


def _plain(where: str, said: str, body: str) -> EndpointError:
    if _message(body) is None:
        return BadReply(f"{where} without an API error message: {said!r}; check base_url")
    return Rejected(f"{where}: {said}")


def _error_text(body: str) -> str:
    """Return an error's own message, or how the body begins."""
    message = _message(body)
    return message[:LONGEST] if message is not None else body[:SHOWN].strip()


def _message(body: str) -> str | None:
    """Find the message in the shapes that servers use: error.message, error, message, detail."""
    try:
        content = from_json(body)
    except ValueError:
        return None
    while isinstance(content, dict):
        content = next(
            (content[key] for key in ("error", "message", "detail") if content.get(key)), None
        )
    return None if content is None else str(content)


def _cause(error: BaseException) -> str:
    from aiohttp import ServerDisconnectedError

    reasons: dict[type[BaseException], str] = {
        ServerDisconnectedError: "Server disconnected",
        ConnectionRefusedError: "connection refused",
        FileNotFoundError: "no such socket",
        socket.gaierror: "no such host",
        ssl.SSLError: "TLS failed",
        ConnectionResetError: "connection reset",
    }
    for link in _chain(error):
        for kind, reason in reasons.items():
            if isinstance(link, kind):
                return reason
    last = list(_chain(error))[-1]
    said = " ".join(str(last).split()).removeprefix("400, message: ")
    return said[:SHOWN] or type(last).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
