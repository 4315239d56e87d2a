"""Send requests through the `openai` client, and map its failures to our own errors.

There are no redirects, no proxy for this machine, no settings from the library's environment
variables, and no retries by the library. Replies are bytes of limited size and are parsed
elsewhere. The library is imported with the first request, which takes a second.

Requests use the library's connections and headers directly: its further work for each request takes
longer than sending it and reading the reply (benchmarks/driver.py).
"""

from __future__ import annotations

import ipaddress
import os
import re
from asyncio import Semaphore
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic_core import PydanticSerializationError, to_json

from collab.endpoints import body as bodies
from collab.endpoints.bound import ERROR, BodyLimit
from collab.endpoints.error_mapping import failed, refused
from collab.endpoints.limits import Retryable
from collab.endpoints.request_format import Body
from collab.errors import BadReply, ConfigError, Rejected

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx2 import AsyncClient, Headers, Response, Timeout
    from openai import AsyncOpenAI

CONNECT = 10.0
"""Longest wait for a connection (seconds); a reply may take as long as the deadline allows."""
LARGE = 4
"""Large replies that are read at once: more would take the memory, if a server sends no others."""
HEADER = re.compile(r"[!-~]+")
"""The characters that a header can carry."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The library's client, its connections, and its headers."""

    client: AsyncOpenAI
    pool: AsyncClient
    headers: Headers


@dataclass
class Connection:
    """An address, its key and the connections to it."""

    url: str
    """Where the API lives, such as http://127.0.0.1:8000/v1."""
    key: str | None = field(default=None, repr=False)
    uds: str | None = None
    """The Unix socket to go through."""
    size: int = 64
    """Requests under way at once."""
    _opened: _Opened | None = field(default=None, repr=False)
    _large: Semaphore = field(default_factory=partial(Semaphore, LARGE), repr=False)
    """Lets large replies in."""

    async def post(self, url: str, body: Body, bound: BodyLimit) -> bytes:
        """Send a request to an address of this server and return the reply's body.

        Args:
            url: The address.
            body: The body of the request.
            bound: The limit on the reply.

        Raises:
            Again: It failed, but may succeed later.
            EndpointError: It failed for good.
        """
        return await self._whole("POST", url, bound, _written(url, body))

    async def get(self, url: str, bound: BodyLimit) -> bytes:
        """Send a GET request to an address of this server; the errors are those of `post`."""
        return await self._whole("GET", url, bound)

    @asynccontextmanager
    async def stream(
        self, url: str, body: Body, bound: BodyLimit
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request and give the lines of its reply; leaving the block stops the server.

        Raises:
            Again: It failed, but may succeed later.
            EndpointError: It failed for good.
        """
        async with self._sent("POST", url, _written(url, body)) as reply:
            pieces = bodies.pieces(url, reply.headers, self._chunks(url, reply), bound.stream)
            yield bodies.lines(pieces, url, bound)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.client.close()

    async def _whole(
        self, method: str, url: str, bound: BodyLimit, content: bytes | None = None
    ) -> bytes:
        async with self._sent(method, url, content) as reply:
            pieces = bodies.pieces(url, reply.headers, self._chunks(url, reply), bound.size)
            body = await bodies.joined(pieces, self._large)
        bound.check(url, body)
        return body

    @asynccontextmanager
    async def _sent(self, method: str, url: str, content: bytes | None) -> AsyncIterator[Response]:
        """Send a request and give the head of its reply, if it is a success."""
        from httpx2 import Request

        opened = self._open()
        with self._faults(url):
            request = Request(method, url, headers=opened.headers, content=content)
            reply = await opened.pool.send(request, stream=True)
        try:
            if not reply.is_success:
                raise refused(url, reply, await self._begin(url, reply))
            yield reply
        finally:
            with self._faults(url, started=True):
                await reply.aclose()

    async def _chunks(self, url: str, reply: Response) -> AsyncIterator[bytes]:
        with self._faults(url, started=True):
            async for chunk in reply.aiter_raw():
                yield chunk

    async def _begin(self, url: str, reply: Response) -> str:
        """Read a refusal, as far as an error can be of use."""
        parts, size = list[bytes](), 0
        chunks = self._chunks(url, reply)
        with suppress(Retryable, BadReply):  # the status says enough
            async for piece in bodies.pieces(url, reply.headers, chunks, 2 * ERROR):
                parts.append(piece)
                size += len(piece)
                if size >= ERROR:
                    break
        return b"".join(parts)[:ERROR].decode(errors="replace")

    def _open(self) -> _Opened:
        if self._opened is None:
            from httpx2 import Headers
            from openai import AsyncOpenAI

            pool = self._pool()
            client = AsyncOpenAI(
                api_key=self.key or "none",
                base_url=self.url,
                max_retries=0,
                timeout=_timeout(),
                http_client=pool,
            )
            client.organization = client.project = client.admin_api_key = None
            client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS is meant for another host
            told = client.default_headers | client.auth_headers
            headers = Headers({name: said for name, said in told.items() if isinstance(said, str)})
            headers["accept-encoding"] = bodies.CODINGS
            self._opened = _Opened(client, pool, headers)
        return self._opened

    def _pool(self) -> AsyncClient:
        """Make the pool: aiohttp's takes half the time of httpx2's own and stays flat as it grows.

        A Unix socket has no address that aiohttp's could be given.
        """
        import httpx2
        from openai import DefaultAioHttpClient

        size = self.size + 2  # for models and health in addition to the requests
        pool = httpx2.Limits(max_connections=size, max_keepalive_connections=size)
        local = self.uds is not None or is_loopback(self.url)
        verify = _trusted(trust_env=not local)
        way = None
        if self.uds is not None:
            way = httpx2.AsyncHTTPTransport(uds=self.uds, limits=pool, verify=verify)
        client = DefaultAioHttpClient(
            transport=way,
            verify=verify,
            limits=pool,
            timeout=_timeout(),
            follow_redirects=False,
            trust_env=not local,
        )
        # aiohttp has a jar of its own, with a bound
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return client

    @contextmanager
    def _faults(self, url: str, *, started: bool = False) -> Iterator[None]:
        """Map the libraries' errors to ours; `started`: the head of the reply has arrived."""
        setting = "the model's uds" if self.uds else "the model's base_url"
        where = f"{url} through {self.uds}" if self.uds else url
        try:
            yield
        except Exception as error:  # three libraries raise them, and they share no base
            raise failed(where, error, setting, started=started) from None


def address(base_url: str) -> str:
    """Complete an address: `/v1` is added where it has no path.

    Raises:
        ConfigError: It is no http address, or holds a password or a query.
    """
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or an invalid port
        parts, whole = urlsplit(""), False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if not whole or not plain or re.search(r"[\s\x00-\x1f]", base_url):
        shown = re.sub(r"//\S*@", "//***@", base_url.partition("?")[0])  # both may hold a key
        raise ConfigError(
            f"base_url {shown!r} is not a plain http(s) address; set it to one such as "
            "http://127.0.0.1:8000/v1, without a user, password or query"
        )
    return base_url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def key_from(variable: str | None) -> str | None:
    """Read a key from an environment variable; without a name there is no key.

    Raises:
        ConfigError: The variable is not set, or holds an invalid key.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(
            f"the environment variable {variable!r} is not set; set it to the server's API key, "
            "or change the model's api_key_env"
        )
    if not HEADER.fullmatch(key):
        raise ConfigError(
            f"the environment variable {variable!r} holds characters that an HTTP header cannot "
            "carry (a trailing space or line break?); set it to the key only"
        )
    return key


def _written(url: str, body: Body) -> bytes:
    """Write a request as JSON.

    Raises:
        Rejected: It contains a value that JSON cannot hold.
    """
    try:
        return to_json(body)
    except PydanticSerializationError as error:
        raise Rejected(f"the request to {url} cannot be written as JSON: {error}") from None


@cache
def _trusted(trust_env: bool) -> SSLContext:
    """Read whose certificates count: it takes 0.1 s, so all connections share it."""
    from httpx2 import create_ssl_context

    return create_ssl_context(trust_env=trust_env)


def _timeout() -> Timeout:
    from httpx2 import Timeout

    return Timeout(None, connect=CONNECT)


def is_loopback(url: str) -> bool:
    """Say whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
