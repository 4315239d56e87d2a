"""One client's connection: whatever it sends is answered, and it may not take for ever.

Uvicorn leaves a client that sends nothing, or reads nothing, connected for ever. Bytes that are no
HTTP it answers in plain text, and closes before they are read: the kernel then resets the
connection, and the client sees no answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from collab.serving.body import error_body, shortened

CUT = logging.getLogger(f"{__name__}.cut")
"""Where the work for a connection that was cut says how it ended: nobody needs to know."""
CUT.disabled = True
MOST = 4096
"""The most connections at once; fewer where the process may not open that many files."""


def _most() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files * 3 // 4)


class TimedConnection(H11Protocol):
    """Uvicorn's connection with time-outs, and answers in OpenAI's shape."""

    most: ClassVar[int] = _most()
    """The most connections at once."""
    head: ClassVar[float] = 20.0
    """How long the head of a request may take (seconds)."""
    body: ClassVar[float] = 60.0
    """How long its body may take (seconds)."""
    stuck: ClassVar[float] = 60.0
    """How long a client may read nothing of its answer (seconds)."""
    linger: ClassVar[float] = 2.0
    """How long what a refused client still sends is read and thrown away (seconds)."""
    parting: ClassVar[float] = 0.5
    """How long the answer to a client that sends no more may take: it may have gone (seconds)."""

    transport: asyncio.Transport
    _refused = False
    _stage: Literal["head", "body"] | None = None
    _slow: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, where there is room for one more client."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.refuse(503, "too many connections at once")
        else:
            self._expect("head")

    def data_received(self, data: bytes) -> None:
        """Take what has come in."""
        if not self._refused:
            super().data_received(data)
            self._look()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Take the end: of half a request, which is refused, or of all that the client asks."""
        if self._stage is not None and self._received:
            self.conn.receive_data(b"")
            self.handle_events()
        if self._refused or not self._answering:
            return False
        self.loop.call_later(self.parting, self.transport.close)
        return True  # it stays open for the answer

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._slow, self._stuck):
            if timer is not None:
                timer.cancel()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        super().pause_writing()
        self._read_on(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        """Note that the client has read on."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn calls this while it handles h11's error."""
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self.refuse(hint if hint < 500 else 400, f"no HTTP request: {shortened(str(error))}")

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error unless an answer has begun, and close in a moment."""
        self._refused = True
        if self._answering:
            begun = self.cycle.response_started
            self._leave()
        else:
            begun = self.conn.our_state is not h11.IDLE
        if not begun:
            self.transport.write(_answer(status, message))
        self._expect(None)
        self.flow.resume_reading()
        if not self.transport.get_write_buffer_size():
            with suppress(OSError):  # the client has gone
                self.transport.write_eof()
        self.loop.call_later(self.linger, self.transport.abort)

    def cut(self) -> None:
        """Close it at once."""
        if self._answering:
            self._leave()
            self.cycle.logger = CUT
        self.transport.abort()

    def shutdown(self) -> None:
        """Close it if no whole request has come in, or after the answer under way."""
        if self._refused or self._stage is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def _leave(self) -> None:
        """Let the app believe that the client has gone: what it sends from now on goes nowhere."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _received(self) -> bool:
        """Whether a part of the next request has come in."""
        return self._stage == "body" or bool(self.conn.trailing_data[0])

    def _look(self) -> None:
        """See what the client has to send next."""
        if self.conn.their_state is h11.SEND_BODY:
            self._expect("body")
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect("head")
        else:
            self._expect(None)

    def _expect(self, stage: Literal["head", "body"] | None) -> None:
        if stage == self._stage and not self._refused:
            return
        if self._slow is not None:
            self._slow.cancel()
        self._stage, self._slow = stage, None
        if stage is not None:
            after = self.head if stage == "head" else self.body
            self._slow = self.loop.call_later(after, self._too_slow, after)

    def _read_on(self, before: int) -> None:
        """Look again and again whether the client reads what waits for it (bytes)."""
        waits = self.transport.get_write_buffer_size()
        if waits >= before:
            self.transport.abort()
        else:
            self._stuck = self.loop.call_later(self.stuck, self._read_on, waits)

    def _too_slow(self, after: float) -> None:
        if self._received:
            self.refuse(408, f"the {self._stage} of the request did not come within {after:g} s")
        else:
            self.transport.close()


def _answer(status: int, message: str) -> bytes:
    body = json.dumps(error_body(message, status)).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
