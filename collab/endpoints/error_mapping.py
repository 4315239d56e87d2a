"""Map the failures of requests to our own errors.

A failure that may pass becomes a `Retryable`, which the gate repeats; every other one is final.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from collab.core.secret import hide_text
from collab.endpoints.api_error import ApiError, error_in
from collab.endpoints.error_kinds import kind_of, wait_in
from collab.endpoints.limits import Retryable, retry_after
from collab.errors import BadReply, ContextFull, Denied, Rejected, Unreachable

if TYPE_CHECKING:
    from httpx2 import Response

SHOWN = 120
"""How much of a strange answer an error shows (characters)."""
LONGEST = 2_000
"""How much of a server's own message (characters)."""
CROWDED = frozenset({429, 503, 529})
"""The status codes of rate limits and overload."""


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
    status, where = response.status_code, f"{url} answered {response.status_code}"
    if 300 <= status < 400:
        to = response.headers.get("location", "")[:LONGEST]
        return BadReply(f"{where}, a redirect to {to!r}; redirects are not followed: set base_url")
    after = retry_after(response.headers.get("retry-after"), time.time())
    found = error_in(text.encode())
    if found is None:
        found = ApiError(text[:SHOWN].strip(), certain=False)
        kind = kind_of(status, (), text[:LONGEST])
        if kind == "refused" or (kind == "denied" and status not in (401, 402, 403)):
            return BadReply(
                f"{where} without an API error message: {found.message!r}; check base_url"
            )
    return _error_of(where, replace(found, status=found.status or status), after)


def reported(url: str, body: bytes) -> Exception | None:
    """Return the failure that a reply with status 200, or an event of a stream, reports."""
    found = error_in(body)
    if found is None:
        return None
    if not found.certain and kind_of(found.status, found.codes, found.message) == "unknown":
        return None
    return _error_of(f"{url} replied with an error", found, None)


def missing(url: str, body: bytes, what: str) -> Exception:
    """Return the error for a reply that lacks what matters: the one it reports, or a quotation."""
    return reported(url, body) or strange(url, body, f"no {what}")


def _error_of(where: str, found: ApiError, after: float | None) -> Exception:
    """Make the error for a message of the API."""
    kind = kind_of(found.status, found.codes, found.message)
    text = f"{where}: {found.shown[:LONGEST]}"
    match kind:
        case "overflow":
            return ContextFull(text)
        case "quota":
            return Denied(f"{text}; the account of the API key has no quota left")
        case "denied" if found.status not in (401, 403):
            return Denied(f"{text}; check the model's base_url and served")
        case "denied":
            return Denied(
                f"{text}; set the model's api_key_env to the environment variable that holds the "
                "API key"
            )
        case "moderation" | "refused":
            return Rejected(text)
        case "unknown":
            return BadReply(text)
        case "rate limit" | "transient":
            pause = after if after is not None else wait_in(found.message)
            crowded = kind == "rate limit" or found.status in CROWDED
            return Retryable(Unreachable(text), pause, crowded=crowded)


def strange(url: str, body: bytes, why: str) -> BadReply:
    """Return the error for a reply that is not one of the API."""
    begin = body[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
    return BadReply(
        f"{url} sent a reply that is not JSON of the API ({why[:SHOWN]}): {begin!r}; "
        "does base_url point at an OpenAI-compatible server?"
    )


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
