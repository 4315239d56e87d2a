"""A client gets an answer to anything it sends, and cannot hold a connection for ever."""

import asyncio
import threading

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from collab.serving import serve
from collab.serving.connection import TimedConnection
from tests.serving.conftest import HEAD, connect, error, reply, request, sent

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = b'{"messages":"' + b"x" * 20_000_000 + b'"}'


class Hasty(TimedConnection):
    """A connection with short time-outs."""

    head = body = stuck = 0.05


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await Response()(scope, receive, send)


@pytest.mark.parametrize(
    ("status", "sends"),
    [
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        (400, b"GET\r\n\r\n"),
        (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 3_000_000),
        (400, HEAD + b"Content-Length: -1\r\n\r\n"),
        (400, HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (400, HEAD + b"Host: evil.example\r\nContent-Length: 0\r\n\r\n"),
        (400, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, CHUNKED + b"five\r\nabcde\r\n0\r\n\r\n"),
        (400, CHUNKED + b"-1\r\n"),
        (404, b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (404, b"GET /%ff%00?%ff HTTP/1.1\r\nHost: localhost\r\nX: \xff\xfe\r\n\r\n"),
        (405, request(head=HEAD.replace(b"chat/completions", b"models"))),
        (413, HEAD + b"Content-Length: 150000000\r\nExpect: 100-continue\r\n\r\n"),
        (413, request(LARGE)),
        (413, request(LARGE, "Connection: close")),
        (403, request(LARGE, "Connection: close", "Origin: http://evil.example")),
        (413, CHUNKED + b"1000000\r\n" + b"x" * 0x1000000 + b"\r\n0\r\n\r\n"),
    ],
)
def test_what_is_no_request_of_the_api_is_refused_in_its_words(
    url: str, status: int, sends: bytes
) -> None:
    refused = sent(url, sends)
    assert (refused.status, error(refused)["code"]) == (status, status)


@pytest.mark.parametrize(
    "sends",
    [
        b"GET / HT",
        HEAD,
        HEAD + b"Content-Length: 99\r\n\r\n{",
        CHUNKED + b"9\r\n{",
        HEAD[:-2] + b"X",
    ],
)
def test_half_a_request_is_refused_when_it_ends(url: str, sends: bytes) -> None:
    assert error(sent(url, sends, end=True))["code"] == 400


def test_a_client_that_sends_no_more_gets_its_answer(url: str) -> None:
    refused = sent(url, request(b"[1]"), end=True)
    assert (refused.status, bool(error(refused))) == (400, True)


def test_a_body_that_ends_before_its_length_says_is_not_taken_for_the_next_request(
    url: str,
) -> None:
    with connect(url) as connection:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}" + b"junk and more\r\n\r\n")
        with connection.makefile("rb") as file:
            assert file.read().count(b"HTTP/1.1 400 Bad Request") == 2


def test_a_connection_outlives_a_refusal(url: str) -> None:
    with connect(url) as connection:
        for sends, status in ((request(LARGE), 413), (request(b"{"), 400), (request(b"[]"), 400)):
            connection.sendall(sends)
            assert reply(connection).status == status


@pytest.mark.parametrize(
    ("sends", "stage"), [(HEAD, "head"), (HEAD + b"Content-Length: 9\r\n\r\n{", "body")]
)
def test_a_request_that_does_not_come_in_time_is_refused(sends: bytes, stage: str) -> None:
    with serve(empty, connection=Hasty) as url:
        late = error(sent(url, sends))
    assert late["code"] == 408
    assert f"the {stage} of the request" in late["message"]


def test_a_client_that_says_nothing_is_left() -> None:
    with serve(empty, connection=Hasty) as url, connect(url) as silent:
        assert silent.recv(1) == b""


def test_a_client_that_reads_nothing_is_left() -> None:
    left = threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        async def talk() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                part = {"type": "http.response.body", "body": b"x" * 100_000, "more_body": True}
                await send(part)
                await asyncio.sleep(0)

        talking = asyncio.ensure_future(talk())
        while (await receive())["type"] != "http.disconnect":
            pass
        talking.cancel()
        left.set()

    with serve(endless, connection=Hasty) as url, connect(url) as deaf:
        deaf.sendall(request())
        assert left.wait(30)


def test_one_client_too_many_is_told_so() -> None:
    class Few(TimedConnection):
        most = 1

    with serve(empty, connection=Few) as url, connect(url) as first:
        first.sendall(request())
        assert reply(first).status == 200
        assert error(sent(url, request()))["code"] == 503
        first.sendall(request())
        assert reply(first).status == 200
