"""The wire: the `openai` client as it is used here, and its failures as our own errors.

No redirects, no proxy for this machine, nothing from the library's own environment variables, no
retries of its own. Replies come back as text and are read elsewhere. The library is imported with
the first request: that takes a second.

A draw goes straight over the library's connections with the library's headers: what it does besides
for every request takes longer than sending one and reading the reply (benchmarks/driver.py).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic_core import to_json

from collab.endpoints.fault import refused, strange, unreachable
from collab.errors import ConfigError
from collab.trajectory import Json

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx2 import AsyncClient, Headers, Timeout
    from openai import AsyncOpenAI

Body = dict[str, Json]
VEIL = b"[key]"
CONNECT = 10.0
"""Longest wait for a connection (seconds); a reply may take as long as the deadline allows."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The library's client, its connections, and what it says of itself in every request."""

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

    async def post(self, url: str, body: Body) -> str:
        """Send a request to an address of this server and return the reply's text.

        Raises:
            Again: It failed in a way that may pass.
            EndpointError: It failed for good.
        """
        from httpx2 import Request

        opened = self._open()
        request = Request("POST", url, headers=opened.headers, content=to_json(body))
        with self._faults(url):
            reply = await opened.pool.send(request)
        said = self._veiled(reply.content)
        if not reply.is_success:
            raise refused(url, reply, said.decode(errors="replace"))
        return _text(url, said)

    @asynccontextmanager
    async def stream(self, body: Body) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a streamed completion and give its lines; leaving the block stops the server.

        Raises:
            Again: It failed in a way that may pass.
            EndpointError: It failed for good.
        """
        create = self._open().client.completions.with_streaming_response.create
        with self._faults(f"{self.url}/completions"):
            async with create(model="", prompt="", stream=True, extra_body=body) as response:
                yield (self._veiled(line) async for line in _lines(response.iter_bytes()))

    async def get(self, url: str) -> str:
        """Fetch an address of this server; failures are those of `post`."""
        from httpx2 import Response

        with self._faults(url):
            reply = await self._open().client.get(url, cast_to=Response)
        return _text(url, self._veiled(reply.content))

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.client.close()

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
            self._opened = _Opened(client, pool, headers)
        return self._opened

    def _pool(self) -> AsyncClient:
        """Make the pool: aiohttp's takes half the time of httpx2's own and stays flat as it grows.

        A Unix socket has no address that aiohttp's could be given.
        """
        import httpx2
        from openai import DefaultAioHttpClient

        size = self.size + 2  # models and health beside the requests
        pool = httpx2.Limits(max_connections=size, max_keepalive_connections=size)
        local = self.uds is not None or is_loopback(self.url)
        verify = _trusted(trust_env=not local)
        way = None
        if self.uds is not None:
            way = httpx2.AsyncHTTPTransport(uds=self.uds, limits=pool, verify=verify)
        return DefaultAioHttpClient(
            transport=way,
            verify=verify,
            limits=pool,
            timeout=_timeout(),
            follow_redirects=False,
            trust_env=not local,
        )

    def _veiled(self, said: bytes) -> bytes:
        """Take the key out of what a server says: some repeat it in their errors."""
        return said.replace(self.key.encode(), VEIL) if self.key else said

    @contextmanager
    def _faults(self, url: str) -> Iterator[None]:
        """Turn the libraries' errors into ours."""
        from httpx2 import RequestError
        from openai import APIConnectionError, APIStatusError

        setting = "the model's uds" if self.uds else "the model's base_url"
        where = f"{url} through {self.uds}" if self.uds else url
        try:
            yield
        except APIStatusError as error:
            said = self._veiled(error.response.content).decode(errors="replace")
            raise refused(url, error.response, said) from None
        except (APIConnectionError, RequestError) as error:
            raise unreachable(where, error, setting) from error


def address(base_url: str) -> str:
    """Complete an address: `/v1` is added where it has no path.

    Raises:
        ConfigError: It is no http address, or holds a password or a query.
    """
    parts = urlsplit(base_url)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        shown = re.sub(r"//[^/@]*@", "//***@", base_url.partition("?")[0])  # both may hold a key
        raise ConfigError(
            f"base_url {shown!r} is no plain http(s) address (no user, password or query); set it "
            "to one such as http://127.0.0.1:8000/v1"
        )
    return base_url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def key_from(variable: str | None) -> str | None:
    """Read a key from an environment variable; none is needed where none is named.

    Raises:
        ConfigError: The variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(
            f"the environment variable {variable!r} is not set; put the server's key in it, "
            "or change the model's api_key_env"
        )
    return key


def _text(url: str, content: bytes) -> str:
    """Read a reply's bytes; nothing is put in the place of what is no text.

    Raises:
        BadReply: They are no UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise strange(url, content.decode(errors="replace"), f"no UTF-8: {error.reason}") from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Split at newlines alone: a text may hold the other characters that end a line."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    yield rest


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
