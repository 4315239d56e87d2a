"""What a server may send, and what not: too much of anything, or no HTTP, is one error."""

import asyncio
import gzip
import json
import logging
import random
import subprocess
import sys
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from collab.core.sampling import Generation, Request, Sampling
from collab.endpoints.bound import BASE, BodyLimit
from collab.endpoints.client import Endpoint
from collab.endpoints.limits import Limits
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, ConfigError, EndpointError, KeyRepeated, Unreachable

Answer = Callable[[StreamWriter], Awaitable[None]]
KEY = "sk-live/0123+45_ab.cdef"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
GOOD: dict[str, Any] = {"choices": [{"text": "ok", "finish_reason": "stop"}]}
FEW = Request("m", "Q", Sampling(), 16)


class Impatient(random.Random):
    """Chooses pauses of no length."""

    def uniform(self, a: float, b: float) -> float:
        return a


@asynccontextmanager
async def answering(*answers: Answer, uds: str | None = None) -> AsyncIterator[str]:
    """Serve one answer a connection in turn, the last one from then on."""
    number, tasks = count(), set[asyncio.Task[Any]]()

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = dict(line.partition(b":")[::2] for line in head.lower().split(b"\r\n"))
            await reader.readexactly(int(lines.get(b"content-length", b"0")))
            await answers[min(next(number), len(answers) - 1)](writer)
            await writer.drain()
        writer.close()

    if uds:
        server = await asyncio.start_unix_server(handle, uds)
    else:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" if not uds else "http://u"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def raw(data: bytes) -> Answer:
    async def answer(writer: StreamWriter) -> None:
        writer.write(data)

    return answer


def forever(piece: bytes, head: bytes = CHUNKED) -> Answer:
    async def answer(writer: StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return answer


def body(content: bytes, *headers: bytes, status: bytes = HEAD) -> Answer:
    lines = b"".join(line + b"\r\n" for line in headers)
    end = b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
    return raw(status + lines + end + content)


def plain(content: object) -> Answer:
    return body(json.dumps(content).encode())


def events(*parts: object) -> Answer:
    lines = [f"data: {json.dumps(part)}\n\n" for part in parts]
    return body("".join([*lines, "data: [DONE]\n\n"]).encode())


def endpoint(url: str, **settings: Any) -> Endpoint:
    limits = settings.pop("limits", Limits(retries=0, timeout=60))
    return Endpoint(url, "m", api_key=KEY, limits=limits, rng=Impatient(), **settings)


async def drawn(url: str, request: Request = FEW, **settings: Any) -> Generation:
    async with endpoint(url, **settings) as one:
        (found,) = await one.complete(request, range(1), seed=0)
    return found


def bomb(wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(32)) + packer.flush()


X = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
TOO_MUCH: dict[str, tuple[Answer, str]] = {
    "body": (forever(X), "more than 1,050,640 bytes"),
    "body until the end": (forever(b"x" * 2**16, HEAD + b"\r\n"), "more than 1,050,640 bytes"),
    "gzip": (body(bomb(31), b"content-encoding: gzip"), "more than 1,050,640 bytes"),
    "deflate": (body(bomb(15), b"content-encoding: deflate"), "more than 1,050,640 bytes"),
    "bare deflate": (body(bomb(-15), b"content-encoding: deflate"), "more than 1,050,640 bytes"),
    "twice": (body(bomb(31), b"content-encoding: gzip, gzip"), "'gzip, gzip', which was not"),
    "brotli": (body(b"x", b"content-encoding: br"), "the content encoding 'br'"),
    "zstd": (body(b"x", b"content-encoding: zstd"), "the content encoding 'zstd'"),
    "choices": (plain({"choices": GOOD["choices"] * 30_000}), "more than 1,050,640 bytes"),
    "fewer choices": (plain({"choices": GOOD["choices"] * 5_000}), "5000 choices for n=1"),
    "lists": (plain([[]] * 100_000), "more than 20,000 objects and lists"),
    "depth": (body(b"[" * 20_000), "recursion limit exceeded"),
    "a number": (body(b'{"choices": ' + b"9" * 9_999 + b"}"), "number out of range"),
    "text": (plain({"choices": [{"text": "a" * 9**6, "finish_reason": "stop"}]}), "characters"),
    "a header": (raw(HEAD + b"x: " + b"y" * 9_000 + b"\r\n\r\n"), "that is not HTTP"),
    "headers": (raw(HEAD + b"".join(b"x-%d: y\r\n" % n for n in range(300))), "that is not HTTP"),
    "endless header": (forever(b"y" * 2**16, HEAD + b"x: "), "that is not HTTP"),
    "trailers": (forever(b"x: y\r\n" * 99, CHUNKED + b"2\r\n{}\r\n0\r\n"), "Too many headers"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_too_much_of_anything_is_one_error(case: str) -> None:
    answer, said = TOO_MUCH[case]
    async with answering(answer) as url:
        with pytest.raises(BadReply) as caught:
            await drawn(url)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1_000


MALFORMED: dict[str, Answer] = {
    "no status line": raw(f"HELLO {KEY}\r\n\r\n".encode()),
    "no status": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "no header": raw(HEAD + f"no colon {KEY}\r\n\r\n".encode()),
    "header bytes": raw(HEAD + b"x: \xff\xfe\x00\r\n\r\n"),
    "two lengths": raw(HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "a negative length": raw(HEAD + b"content-length: -2\r\n\r\n{}"),
    "a short body": raw(HEAD + b"content-length: 99\r\n\r\n{}"),
    "a bad chunk": raw(CHUNKED + b"zz\r\n{}"),
    "no gzip": body(b"hello", b"content-encoding: gzip"),
    "half a gzip": body(gzip.compress(b"{}")[:-9], b"content-encoding: gzip"),
    "a lone surrogate": body(b'{"choices": [{"text": "\\ud800", "finish_reason": "stop"}]}'),
    "no ids": plain({"choices": [{**GOOD["choices"][0], "token_ids": [-1, 10**20]}]}),
    "no choices": plain({"choices": []}),
}


@pytest.mark.parametrize("way", ["tcp", "uds"])
@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_reply_is_an_error_that_ends_no_run(
    case: str, way: str, tmp_path: Path
) -> None:
    uds = str(tmp_path / "s") if way == "uds" else None
    async with answering(MALFORMED[case], uds=uds) as url:
        with pytest.raises(BadReply) as caught:
            await drawn(url, uds=uds)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("case", ["a bad chunk", "no status line", "half a gzip", "a short body"])
async def test_a_malformed_reply_of_a_server_that_answered_before_is_asked_for_again(
    case: str,
) -> None:
    async with (
        answering(plain(GOOD), MALFORMED[case], plain(GOOD)) as url,
        endpoint(url, limits=Limits(retries=1)) as one,
    ):
        for seed in range(2):
            (found,) = await one.complete(FEW, range(1), seed=seed)
            assert found.text == "ok"


@pytest.mark.parametrize(
    "content",
    [
        {"token_logprobs": [float("nan")], "top_logprobs": [{"a": -0.1}]},
        {"top_logprobs": [{"a": float("nan")}]},
        {"top_logprobs": [{"a": float("inf")}]},
        {"top_logprobs": [{"a": 1_000.0}]},
    ],
)
async def test_a_log_probability_that_is_none_is_an_error(content: object) -> None:
    choice = {**GOOD["choices"][0], "logprobs": content}
    async with answering(plain({"choices": [choice]})) as url:
        with pytest.raises(BadReply, match="returned the log-probability"):
            await drawn(url, Request("m", "Q", Sampling(), 16, logprobs=1))


async def test_half_an_ipv6_address_or_no_port_is_no_address() -> None:
    for wrong in ("http://[::1", "http://h:99999/v1", "http://h:p/v1", "http://a b/v1"):
        with pytest.raises(ConfigError, match="not a plain http"):
            Endpoint(wrong, "m")


@pytest.mark.parametrize("packing", ["gzip", "x-gzip", "deflate", "bare"])
async def test_a_packed_reply_is_unpacked(packing: str) -> None:
    content = json.dumps(GOOD).encode()
    packed = gzip.compress(content) if "gzip" in packing else zlib.compress(content)
    packed = packed[2:-4] if packing == "bare" else packed
    name = b"deflate" if packing == "bare" else packing.encode()
    async with answering(body(packed, b"content-encoding: " + name)) as url:
        assert (await drawn(url)).text == "ok"


async def test_a_refusal_without_end_is_a_refusal() -> None:
    head = b"HTTP/1.1 429 X\r\ntransfer-encoding: chunked\r\n\r\n"
    async with answering(forever(X, head)) as url:
        with pytest.raises(Unreachable, match="answered 429: xxx"):
            await drawn(url)


async def test_a_header_that_trickles_ends_with_the_time() -> None:
    async def trickle(writer: StreamWriter) -> None:
        writer.write(HEAD)
        await asyncio.Event().wait()

    limits = Limits(retries=0, timeout=0.2)
    async with answering(trickle) as url:
        with pytest.raises(Unreachable, match=r"within the timeout of 0\.2 s"):
            await drawn(url, limits=limits)
        async with endpoint(url, limits=limits) as one:
            with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
                await one.models()


async def test_lists_of_models_and_of_tokens_are_bounded_too() -> None:
    async with answering(forever(X)) as url, endpoint(url) as one:
        with pytest.raises(BadReply, match="more than 8,388,608 bytes"):
            await one.models()
        assert await one.ends("So we add.") is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (forever(b"data: " + b"x" * 2**16, HEAD + b"\r\n"), "a line of more than"),
        (forever(b'data: {"choices": [{"text": ""}]}\n' * 99, HEAD + b"\r\n"), "a reply of more"),
        (forever(b": hm\n" * 999, HEAD + b"\r\n"), "a reply of more than"),
        (events({"choices": [{"text": "a"}] * 2}), "2 choices for n=1"),
        (events({"choices": [{"text": "a", "token_ids": [1] * 999}]}), "wrote 999 tokens"),
    ],
)
async def test_a_stream_is_bounded_as_a_whole_and_line_by_line(answer: Answer, said: str) -> None:
    async with answering(answer) as url, endpoint(url) as one:
        with pytest.raises(BadReply, match=said):
            await one.complete(FEW, range(1), seed=0, on_text=lambda _: None)


async def test_a_draw_that_was_read_is_never_made_again_whatever_went_wrong() -> None:
    broken = body(b'data: {"choices": [{"text": "So"}]}\n\n<html>')
    heard: list[str] = []
    async with (
        answering(plain(GOOD), broken, events(*[GOOD])) as url,
        endpoint(url, limits=Limits(retries=5)) as one,
    ):
        await one.complete(FEW, range(1), seed=0)
        with pytest.raises(BadReply, match="not an event stream"):
            await one.complete(FEW, range(1), seed=1, on_text=heard.append)
    assert heard == ["So"]


async def test_a_malformed_cookie_spoils_no_reply() -> None:
    cookie = b"set-cookie: a=b; expires=Fri, 31 Dec 99999999999 00:00:00 GMT; max-age=1e99"
    async with answering(body(json.dumps(GOOD).encode(), cookie, b"set-cookie: \xff;;=")) as url:
        assert (await drawn(url)).text == "ok"


def test_what_may_come_grows_with_what_is_asked_and_has_an_end() -> None:
    def size(n: int = 1, **fields: Any) -> int:
        asked = {"model": "m", "prompt": "Q", "sampling": Sampling(), "max_tokens": 1_000}
        return BodyLimit.of(Request(**{**asked, **fields}), n).size

    assert BASE < size() < size(n=8) < size(n=8, logprobs=20) < size(n=8, logprobs=20) * 2
    assert size(prompt=tuple(range(100_000))) > size() + 10**6
    assert size(n=10**6) == size(n=10**9)


# the key

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
FORMS = {
    "plain": KEY,
    "json": ESCAPED,
    "upper": ESCAPED.upper().replace("U", "u"),
    "one letter": "\\u0073" + KEY[1:],
    "slash": KEY.replace("/", "\\/"),
    "percent": "".join(f"%{ord(letter):02x}" for letter in KEY),
    "percent, upper": "".join(f"%{ord(letter):02X}" for letter in KEY),
    "percent twice": quote(quote(KEY, safe=""), safe=""),
    "json in json": ESCAPED.replace("\\", "\\\\"),
    "html": "".join(f"&#{ord(letter)};" for letter in KEY),
    "html, hexadecimal": "".join(f"&#x{ord(letter):X};" for letter in KEY),
}

BAD, MOVED = b"HTTP/1.1 400 X\r\n", b"HTTP/1.1 301 X\r\n"


def holding(form: str, template: str) -> bytes:
    """Write JSON by hand, the key in it as it is."""
    return template.replace("KEY", FORMS[form]).encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "answer",
    [
        lambda key: body(holding(key, '{"error": {"message": "no KEY"}}'), status=BAD),
        lambda key: body(holding(key, "<html>no KEY here"), status=BAD),
        lambda key: body(holding(key, '{"error": "x"} KEY'), status=BAD),
        lambda key: body(holding(key, "<p>KEY")),
        lambda key: body(b"", holding(key, "location: /?KEY"), status=MOVED),
        lambda key: body(holding(key, '{"choices": [{"text": "", "finish_reason": "KEY"}]}')),
        lambda key: raw(holding(key, "HTTP/1.1 KEY\r\n\r\n")),
    ],
)
async def test_no_error_shows_the_key_in_whatever_way_it_is_written(
    form: str, answer: Callable[[str], Answer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with answering(answer(form)) as url:
        with pytest.raises(EndpointError) as caught:
            await drawn(url, limits=Limits(retries=1))
    said = str(caught.value) + caplog.text
    assert KEY[:8] not in said
    assert FORMS[form] not in said


CHOICE = '{"text": "a", "finish_reason": "stop"}'


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["model", "system_fingerprint"])
async def test_the_key_in_a_name_is_taken_out_of_it(name: str, form: str) -> None:
    content = holding(form, f'{{"choices": [{CHOICE}], "{name}": "x KEY"}}')
    async with answering(body(content)) as url:
        assert "x [key]" in (await drawn(url)).served


@pytest.mark.parametrize("form", FORMS)
async def test_a_draw_that_holds_the_key_is_refused_at_once_and_not_altered(form: str) -> None:
    content = holding(form, '{"choices": [{"text": "So KEY.", "finish_reason": "stop"}]}')
    async with (
        answering(plain(GOOD), body(content), plain(GOOD)) as url,
        endpoint(url, limits=Limits(retries=5)) as one,
    ):
        await one.complete(FEW, range(1), seed=0)
        with pytest.raises(KeyRepeated, match="repeated the API key in its output"):
            await one.complete(FEW, range(1), seed=1)


async def test_ids_that_spell_the_key_are_refused(letters: Tokenizer) -> None:
    ids = list(letters.encode(KEY))
    choice = {"text": "a", "finish_reason": "stop", "token_ids": ids}
    async with answering(plain({"choices": [choice], "usage": {"prompt_tokens": 1}})) as url:
        with pytest.raises(KeyRepeated):
            await drawn(url, tokenizer=letters)


@pytest.mark.parametrize("form", ["plain", "percent", "html", "percent twice"])
@pytest.mark.parametrize("cut", [1, 2, 5, 9, 20])
async def test_a_key_that_comes_in_two_events_is_not_read_along(form: str, cut: int) -> None:
    key, heard, kept = FORMS[form], list[str](), list[Generation]()
    texts = ["So we add. ", key[:cut], key[cut:], " Yes."]
    parts = [{"choices": [{"text": text}]} for text in texts]
    async with answering(events(*parts)) as url, endpoint(url) as one:
        with pytest.raises(KeyRepeated):
            await one.complete(FEW, range(1), seed=0, on_text=heard.append, on_cut=kept.append)
    assert "".join(heard) == "So we add. "
    assert [part.text for part in kept] == ["So we add. "]


async def test_what_only_begins_like_the_key_is_read_along_as_soon_as_it_is_none() -> None:
    heard: list[str] = []
    texts = ["a ", "sk", "-live", "ly 5%", "."]
    parts: list[Any] = [{"choices": [{"text": text}]} for text in texts]
    parts[-1]["choices"][0]["finish_reason"] = "stop"
    async with answering(events(*parts)) as url, endpoint(url) as one:
        (found,) = await one.complete(FEW, range(1), seed=0, on_text=heard.append)
    assert found.text == "".join(heard) == "a sk-lively 5%."
    assert heard == ["a ", "sk-lively 5", "%."]


async def test_a_draw_that_was_cut_within_the_key_is_kept_without_its_beginning() -> None:
    async def half(writer: StreamWriter) -> None:
        writer.write(HEAD + b'\r\ndata: {"choices": [{"text": "So sk-live/01"}]}\n\n')
        await writer.drain()

    kept: list[Generation] = []
    async with answering(half) as url, endpoint(url) as one:
        with pytest.raises(EndpointError):
            await one.complete(FEW, range(1), seed=0, on_text=lambda _: None, on_cut=kept.append)
    assert [part.text for part in kept] == ["So "]


@pytest.mark.parametrize("key", ["EMPTY", "none", "x", "ok", "whatever"])
async def test_a_placeholder_for_a_key_is_a_word_like_any_other(key: str) -> None:
    choice = {"text": f"ok, {key} it is", "finish_reason": "stop"}
    async with (
        answering(plain({"choices": [choice]})) as url,
        Endpoint(url, "m", api_key=key) as one,
    ):
        (found,) = await one.complete(FEW, range(1), seed=0)
    assert found.text == choice["text"]


async def test_a_secret_among_the_extra_fields_is_one_too() -> None:
    choice = {"text": "sk-extra-012345", "finish_reason": "stop"}
    extra: dict[str, Any] = {"headers": {"authorization": "Bearer sk-extra-012345"}}
    async with answering(plain({"choices": [choice]})) as url:
        with pytest.raises(KeyRepeated):
            await drawn(url, extra=extra)


async def test_a_key_with_a_line_break_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-0123456789\n")
    with pytest.raises(
        ConfigError, match="'MY_KEY' holds characters that an HTTP header cannot carry"
    ) as caught:
        Endpoint("http://h", "m", api_key_env="MY_KEY")
    assert "sk-" not in str(caught.value)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_client_stays_small_whatever_a_server_sends() -> None:
    """The benchmark is what is measured by hand, too."""
    command = [sys.executable, "benchmarks/hostile.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    assert found["peak_mb"] < 300
    assert found["deaf_seconds"] < 5  # one on a machine that does nothing else
