"""A reply's body, read piece by piece: unpacked as it comes, and no further than is allowed."""

from __future__ import annotations

import asyncio
import zlib
from asyncio import Semaphore
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack

from collab.endpoints.bound import BodyLimit, too_long
from collab.errors import BadReply

CODINGS = "gzip, deflate"
"""The content encodings that requests accept, and that replies may have."""
PIECE = 2**16
"""Bytes that are unpacked at a time."""
HELD = 2**19
"""Bytes of a body that are read without waiting for a turn."""
Chunks = AsyncIterator[bytes]


class Unpacker:
    """Unpacks gzip or deflate in pieces: a small body may hold gigabytes.

    Args:
        url: The address of the reply.
        coding: Its content encoding.
    """

    def __init__(self, url: str, coding: str) -> None:
        self._url, self._coding = url, coding
        self._bare = coding == "deflate"
        """Whether it may be deflate without zlib's frame, which some servers call so."""
        self._engine = zlib.decompressobj(zlib.MAX_WBITS | (0 if self._bare else 16))

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress a chunk and yield it in pieces.

        Raises:
            BadReply: The data are not in the encoding that the header names.
        """
        more = True
        while more:
            piece = self._unpacked(chunk)
            chunk = self._engine.unconsumed_tail
            more = bool(chunk) or len(piece) == PIECE
            if piece:
                yield piece

    def finish(self) -> None:
        """Check that all has come.

        Raises:
            BadReply: It breaks off.
        """
        if not self._engine.eof:
            raise BadReply(f"{self._url} sent a truncated {self._coding} reply")

    def _unpacked(self, chunk: bytes) -> bytes:
        bare, self._bare = self._bare, False
        try:
            return self._engine.decompress(chunk, PIECE)
        except zlib.error as error:
            if not bare:
                raise BadReply(f"{self._url} sent invalid {self._coding} data ({error})") from None
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._unpacked(chunk)


def unpacker(url: str, headers: Mapping[str, str]) -> Unpacker | None:
    """Return the decompressor for a body with these headers; None if it is not compressed.

    Raises:
        BadReply: It has an encoding that was not requested, or two.
    """
    named = headers.get("content-encoding", "").lower().split(",")
    codings = [name for word in named if (name := word.strip()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in ("gzip", "x-gzip", "deflate"):
        raise BadReply(
            f"{url} sent a reply with the content encoding {', '.join(codings)[:40]!r}, which "
            f"was not requested (accepted: one of {CODINGS})"
        )
    return Unpacker(url, codings[0])


async def pieces(url: str, headers: Mapping[str, str], chunks: Chunks, most: int) -> Chunks:
    """Yield a body's bytes, unpacked.

    Raises:
        BadReply: There are more than `most`, packed or unpacked.
    """
    unpack, came, size = unpacker(url, headers), 0, 0
    async for chunk in chunks:
        came += len(chunk)
        for piece in (chunk,) if unpack is None else unpack.feed(chunk):
            size += len(piece)
            if size > most:
                raise too_long(url, most)
            yield piece
            if len(piece) == PIECE:
                await asyncio.sleep(0)  # a small chunk unpacks to much: others have their turn
        if came > most:
            raise too_long(url, most)
    if unpack is not None:
        unpack.finish()


async def joined(parts: Chunks, large: Semaphore) -> bytes:
    """Read a whole body; a `large` one waits until there is memory for it."""
    whole, size = list[bytes](), 0
    async with AsyncExitStack() as stack:
        async for piece in parts:
            if size <= HELD < size + len(piece):
                await stack.enter_async_context(large)
            size += len(piece)
            whole.append(piece)
        return b"".join(whole)


async def lines(parts: Chunks, url: str, bound: BodyLimit) -> Chunks:
    """Split at newlines only: a text may contain other line-ending characters.

    Raises:
        BadReply: A line is too long.
    """
    pending: list[bytes] = []
    length = 0
    async for piece in parts:
        first, *rest = piece.split(b"\n")
        pending.append(first)
        length += len(first)
        for line in rest:
            whole = b"".join(pending)
            bound.check(url, whole)
            yield whole
            pending, length = [line], len(line)
        if length > bound.size:
            raise too_long(url, bound.size, "a line")
    yield b"".join(pending)
