"""What went wrong between us and a server, said in one of our own errors.

A failure that may pass comes back as `Again`, which the gate repeats; every other one is final.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collab.endpoints.limits import Again, retry_after
from collab.errors import BadReply, ContextFull, Denied, EndpointError, Rejected, Unreachable

if TYPE_CHECKING:
    from httpx2 import Response

SHOWN = 120
"""How much of a strange answer an error shows (characters)."""
PASSING = frozenset({408, 409, 425, 429})
"""Refusals that may pass; so may every 5xx."""
CROWDED = frozenset({429, 503, 529})
"""Those that mean: too much at once."""
_FULL = re.compile(
    r"context_length_exceeded|context (length|window|size)|max(imum)?[_ ]model[_ ]len(gth)?"
    r"|maximum (input|sequence|prompt) length|(prompt|input) is too long|exceeds? .{0,40}\bcontext"
    r"|max_tokens must be at least 1, got 0",  # vLLM, where the prompt alone fills the context
    re.IGNORECASE,
)


def unreachable(url: str, error: BaseException, setting: str) -> Again:
    """Say why there was no connection, or why it broke."""
    return Again(
        Unreachable(f"cannot reach {url} ({_cause(error)}): is the server running? set {setting}")
    )


def refused(url: str, response: Response, text: str) -> Exception:
    """Turn a status that is no success, and the text with it, into the error they stand for."""
    status, said = response.status_code, _said(text)
    where = f"{url} answered {status}"
    if status in PASSING or status >= 500:
        after = retry_after(response.headers.get("retry-after"), time.time())
        return Again(Unreachable(f"{where}: {said}"), after, crowded=status in CROWDED)
    if 300 <= status < 400:
        to = response.headers.get("location")
        return BadReply(f"{where}, a redirect to {to!r}; redirects are not followed: set base_url")
    if status in (401, 402, 403):
        return Denied(f"{where}: {said}; set the model's api_key_env to the key's variable")
    if status == 404 and _message(text) is not None:
        return Denied(f"{where}: {said}; set the model's base_url and served to what is there")
    if status in (400, 413, 422) and _FULL.search(text):
        return ContextFull(f"{where}: {said}")
    return _plain(where, said, text)


def strange(url: str, body: str, why: str) -> BadReply:
    """Name an answer that is none of the API's."""
    return BadReply(
        f"{url} answered with something that is no reply of the API ({why}): {body[:SHOWN]!r}; "
        "does base_url point at an OpenAI-compatible server?"
    )


def broken(url: str, data: str) -> Again | None:
    """Return the failure that a stream's event announces, if it announces one."""
    if '"error"' not in data or '"choices"' in data:
        return None
    return Again(Unreachable(f"{url} broke off: {_said(data)}"))


def _plain(where: str, said: str, body: str) -> EndpointError:
    if _message(body) is None:
        return BadReply(f"{where} and no error of the API: {said!r}; is base_url right?")
    return Rejected(f"{where}: {said}")


def _said(body: str) -> str:
    """Return an error's own message, or how the body begins."""
    message = _message(body)
    return message if message is not None else body[:SHOWN].strip()


def _message(body: str) -> str | None:
    """Find the message in the shapes that servers use: error.message, error, message, detail."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    while isinstance(content, dict):
        content = next(
            (content[key] for key in ("error", "message", "detail") if content.get(key)), None
        )
    return None if content is None else str(content)


def _cause(error: BaseException) -> str:
    reasons = {
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
    return str(last) or type(last).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
