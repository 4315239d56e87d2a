"""The requests that a local server accepts: none from other sites' pages, and a key from afar.

A page of another site can reach a local server through the user's browser, by its address or by a
host name that the site's owner points at it (DNS rebinding). Such a request names another host, has
another `Origin`, or has a content type that browsers send without permission. Each is refused.
"""

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from collab.serving.backend import WireError
from collab.serving.body import (
    LONGEST,
    discard,
    error_response,
    read_body,
    replay,
    shortened,
    too_long,
)

HOST = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.%]+)\]|(?P<name>[a-z0-9_.-]+))(?::\d{1,5})?", re.IGNORECASE
)
KEYLESS = frozenset({"/health"})
"""The paths that need no key."""
JSON = "application/json"


@dataclass(frozen=True)
class Guard:
    """Middleware that forwards allowed requests with their whole body, and refuses the others."""

    app: ASGIApp
    key: str | None = None
    """What clients must send as a bearer token."""
    names: frozenset[str] = frozenset()
    """Names of this server, besides `localhost` and IP addresses."""
    links: bool = False
    """Whether other sites may link to pages here, which anyone who knows their address may open."""
    refuse: Callable[[WireError], Response] = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward or refuse a request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except WireError as error:
            await self._refuse(error, headers, scope, receive, send)
            return
        try:
            body = await read_body(receive)
        except WireError as error:
            await self.refuse(error)(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, replay(body, receive), send)

    async def _refuse(
        self, error: WireError, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = self.refuse(error)
        if headers.get("expect", "").lower() == "100-continue":  # no body follows
            response.headers["connection"] = "close"
        else:
            await discard(receive)
        await response(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        self._check_host(scope, host)
        self._check_origin(scope, headers, host)
        if self.key is not None and scope["path"] not in KEYLESS:
            _check_key(headers, self.key)
        if scope["method"] in ("POST", "PUT", "PATCH"):
            _check_type(headers)
        _check_length(headers)

    def _check_host(self, scope: Scope, host: str) -> None:
        """Compare the host with the address of the connection; a Unix socket has no address."""
        if (server := scope["server"]) is not None and server[1] is None:
            return
        found = HOST.fullmatch(host)
        if found is None:
            raise WireError(f"{shortened(host)!r} is not a host")
        name = (found["v6"] or found["name"]).lower()
        if name == "localhost" or name in self.names:
            return
        local = server is None or is_loopback(server[0])
        if is_loopback(name) or (not local and _is_address(name)):
            return
        message = f"host {host!r} is not this machine (use its IP address: http://127.0.0.1 …)"
        raise WireError(message, status=403)

    def _check_origin(self, scope: Scope, headers: Headers, host: str) -> None:
        for origin in headers.getlist("origin"):
            if origin.lower() != f"http://{host.lower()}":
                message = f"requests from {shortened(origin)!r} are not answered"
                raise WireError(message, status=403)
        site = headers.get("sec-fetch-site", "none")
        followed = self.links and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not followed:
            message = (
                f"requests from other sites (Sec-Fetch-Site: {shortened(site)!r}) are not answered"
            )
            raise WireError(message, status=403)


def is_loopback(host: str) -> bool:
    """Return whether a host is an IP address that only this machine reaches."""
    return _is_address(host) and ip_address(host).is_loopback


def own_names(host: str) -> frozenset[str]:
    """Return the names of a server that listens on a host: the host, and this machine's name."""
    return frozenset({host.lower(), socket.gethostname().lower()})


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _check_key(headers: Headers, key: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    known = hmac.compare_digest(given.strip().encode(), key.encode())
    if scheme.lower() != "bearer" or not known:
        raise WireError("the API key is missing or wrong", status=401)


def _check_type(headers: Headers) -> None:
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        message = f"Content-Encoding {shortened(encoding)!r} is not supported: send plain JSON"
        raise WireError(message, status=415)
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != JSON:
        message = f"Content-Type {shortened(given)!r} is not supported: send {JSON}"
        raise WireError(message, status=415 if given else 400)


def _check_length(headers: Headers) -> None:
    if int(headers.get("content-length", "0")) > LONGEST:
        raise too_long()
