"""Fixtures of the server tests: requests byte by byte, and three apps to send them to."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import ASGIApp

from collab import Sentence
from collab.core.trajectory import Question
from collab.endpoints.scripted import ScriptedServer
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.pocket.server import PocketBackend
from collab.policies.alternate import Alternate
from collab.serving import Guard, build_app, serve
from collab.serving.collaboration import build_collaboration
from collab.testing import Speaker

PATIENCE = 30.0
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
)
CHAT = b'{"messages":[{"role":"user","content":"3 + 4?"}],"max_tokens":3}'


@dataclass(frozen=True)
class Reply:
    """A reply."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


def connect(url: str) -> socket.socket:
    """Open a connection to a server."""
    at = urlsplit(url)
    return socket.create_connection((at.hostname, at.port), timeout=PATIENCE)


def reply(connection: socket.socket) -> Reply:
    """Read a reply; raise an error if the connection is dropped without one."""
    with HTTPResponse(connection) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())


def sent(url: str, *parts: bytes, end: bool = False) -> Reply:
    """Send bytes on a new connection; `end`: close the sending side after them."""
    with connect(url) as connection:
        for part in parts:
            connection.sendall(part)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return reply(connection)


def request(body: bytes = CHAT, *headers: str, head: bytes = HEAD) -> bytes:
    """Write a request."""
    length = f"Content-Length: {len(body)}"
    return head + "".join(f"{line}\r\n" for line in (*headers, length)).encode() + b"\r\n" + body


async def play(question: Question, most: int | None) -> Episode:
    """Play a question with two speakers."""
    seats = {seat: Speaker(closes=0.3) for seat in ("main", "partner")}
    case = Case(question.id, question, Alternate())
    return await play_case(case, Team(seats), until=Sentence(), budget=min(most or 200, 200))


def pocket() -> ASGIApp:
    return build_app(PocketBackend(["plain"]))


def openai() -> ASGIApp:
    return Guard(ScriptedServer(PocketBackend(["plain"]), api="openai", keep=0))


def collaboration() -> ASGIApp:
    return build_collaboration("pair", play)


@pytest.fixture(scope="session", params=[pocket, openai, collaboration])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start a server of each kind."""
    with serve(request.param()) as url:
        yield url


def error(reply: Reply) -> dict[str, Any]:  # Any: JSON
    """Return the error in a reply."""
    found: dict[str, Any] = json.loads(reply.body)["error"]
    assert found["message"]
    return found
