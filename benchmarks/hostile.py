"""Measure the memory and time that a hostile server can cost a run.

    python benchmarks/hostile.py

A server in a process of its own answers with endless bodies, bombs of a gigabyte, half a gigabyte
of text, a million choices, slow headers and more. A client in another process, with the whole
command line loaded, requests small and large draws, one at a time and then many at once. Every
attack must end in one `EndpointError`. The last line is one JSON object: `peak_mb`, the client's
peak memory (megabytes), `seconds`, the time of all attacks, and `deaf_seconds`, the longest time in
which the client could not react to Ctrl-C.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count, repeat
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n"
PIECE = 2**16
GIGABYTE = 2**30
PATIENCE = 1.0
"""The client's time-out for one reply (seconds)."""
CROWD = 64
"""Concurrent requests in the last part."""
CROWDED = (0, 2, 6)
"""The attacks in the last part, by number."""
STATUS = Path("/proc/self/status")
Bytes = Iterator[bytes]


def chunked(pieces: Bytes, head: bytes = CHUNKED) -> Bytes:
    yield head + b"\r\n"
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def text(size: int) -> Bytes:
    """Write a valid completion with a text of `size` bytes."""
    yield b'{"choices": [{"finish_reason": "stop", "text": "'
    yield from repeat(b"a" * PIECE, size // PIECE)
    yield b'"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}'


def many(piece: bytes, number: int) -> Bytes:
    """Write a list of choices with `number` equal entries."""
    yield b'{"choices": ['
    yield from repeat((piece + b",") * 1_000, number // 1_000)
    yield piece + b"]}"


def gzipped(size: int) -> Bytes:
    """Write `size` zero bytes, compressed as repetitions of one block."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from repeat(block, size // 2**20)
    yield packer.flush()


def packed(name: bytes, pieces: Bytes) -> Bytes:
    return chunked(pieces, CHUNKED + b"content-encoding: " + name + b"\r\n")


def brotli_bomb() -> Bytes:
    with suppress(ImportError):
        import brotli  # type: ignore[import-not-found, import-untyped, unused-ignore]

        yield brotli.compress(bytes(2**26))


def zstd_bomb() -> Bytes:
    with suppress(ImportError):
        from backports import zstd  # type: ignore[import-not-found, unused-ignore]

        yield zstd.compress(bytes(2**26))


def header(pieces: Bytes) -> Bytes:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from pieces


EVENT = b'data: {"choices": [{"text": "a"}]}\n\n'
ATTACKS: dict[str, Callable[[], Bytes]] = {
    "an endless body": lambda: chunked(repeat(b"x" * PIECE)),
    "an endless refusal": lambda: chunked(
        repeat(b"x" * PIECE), b"HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n"
    ),
    "a gzip bomb": lambda: packed(b"gzip", gzipped(GIGABYTE)),
    "gzip in gzip": lambda: packed(b"gzip, gzip", gzipped(GIGABYTE)),
    "brotli": lambda: packed(b"br", brotli_bomb()),
    "zstd": lambda: packed(b"zstd", zstd_bomb()),
    "500 MB of text": lambda: chunked(text(500 * 10**6)),
    "a million choices": lambda: chunked(
        many(b'{"index": 0, "text": "", "finish_reason": "stop"}', 10**6)
    ),
    "a million empty lists": lambda: chunked(many(b"[]", 10**6)),
    "deep JSON": lambda: chunked(repeat(b"[" * PIECE, 100)),
    "a long number": lambda: chunked(iter([b'{"choices": ', b"9" * 10**6, b"}"])),
    "an endless line": lambda: chunked(repeat(b"data: " + b"x" * PIECE)),
    "an endless stream": lambda: chunked(repeat(EVENT * 100)),
    "endless comments": lambda: chunked(repeat(b": hm\n" * 1_000)),
    "a long header": lambda: header(repeat(b"x-a: " + b"y" * PIECE)),
    "endless headers": lambda: header(b"x-%d: y\r\n" % n for n in count()),
    "endless trailers": lambda: iter(
        [CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", *(b"x-%d: y\r\n" % n for n in range(10**5))]
    ),
    "interim replies": lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "no status line": lambda: iter([b"HELLO\r\n\r\n"]),
}
TRICKLED = "a trickled header"
TASKS: set[asyncio.Task[None]] = set()


async def serve() -> None:
    """Answer each request with the attack whose number is in the path."""
    names = list(ATTACKS)

    async def handle(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            number = int(head.split(b"/")[1])
            if number < len(names):
                for piece in ATTACKS[names[number]]():
                    writer.write(piece)
                    await writer.drain()
            else:
                for byte in HEAD * 100:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def suffer(port: int) -> dict[str, float]:
    """Send all requests, and return the memory and time that they took."""
    import collab.cli.run  # noqa: F401 - a run has the whole command line in memory
    from collab.core.sampling import Request, Sampling
    from collab.endpoints.client import Endpoint
    from collab.endpoints.limits import Limits

    small = Request("m", "Q", Sampling(), 16)
    large = Request("m", "Q", Sampling(), 32_768)
    limits = Limits(retries=0, timeout=PATIENCE)

    def at(number: int) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{port}/{number}", "m", limits=limits)

    begin = time.perf_counter()
    async with loop_gaps() as gaps:
        for number, name in enumerate([*ATTACKS, TRICKLED]):
            start = time.perf_counter()
            async with at(number) as endpoint:
                for request in (small, large):
                    await refused(endpoint.complete(request, range(1), seed=0))
                    await refused(endpoint.complete(request, range(1), seed=0, on_text=ignore))
                await refused(endpoint.complete(large, range(8), seed=0))
                await refused(endpoint.models())
            took = time.perf_counter() - start
            print(f"{name:24} {took:6.2f} s  {peak():4.0f} MB", flush=True)
        for number in CROWDED:
            async with at(number) as endpoint:
                draws = (endpoint.complete(large, range(1), seed=seed) for seed in range(CROWD))
                await asyncio.gather(*map(refused, draws))
        print(f"{f'{CROWD} at once':33}  {peak():4.0f} MB", flush=True)
    return {
        "peak_mb": round(peak(), 1),
        "seconds": round(time.perf_counter() - begin, 1),
        "deaf_seconds": round(max(gaps), 2),
    }


def ignore(text: str) -> None:
    """Ignore streamed text."""


async def refused(answer: Awaitable[object]) -> None:
    """Check that a request ends in an `EndpointError`."""
    from collab.errors import EndpointError

    try:
        await answer
    except EndpointError:
        return
    raise AssertionError("an attack was accepted as a reply")


@asynccontextmanager
async def loop_gaps() -> AsyncIterator[list[float]]:
    """Collect the times for which the event loop was blocked (seconds)."""
    gaps = [0.0]

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            gaps.append(time.perf_counter() - before - 0.01)

    task = asyncio.create_task(watch())
    try:
        yield gaps
    finally:
        task.cancel()


def peak() -> float:
    """Return the peak memory of this process (megabytes)."""
    if STATUS.exists():
        rows = dict(line.partition(":")[::2] for line in STATUS.read_text().splitlines())
        return int(rows["VmHWM"].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def server() -> Iterator[int]:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    with server() as port:
        command = [sys.executable, __file__, "--suffer", str(port)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["--suffer"]:
        print(json.dumps(asyncio.run(suffer(int(sys.argv[2])))))
    else:
        main()
