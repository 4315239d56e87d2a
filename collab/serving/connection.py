"""A client's connection, with time-outs and an answer to anything that it sends.

Uvicorn keeps a client that sends nothing, or reads nothing, connected for ever. It answers bytes
that are not HTTP in plain text, and closes before it has read them: the kernel then resets the
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
"""A silent logger, for the errors of work whose connection was cut."""
CUT.disabled = True
MOST = 4096
"""The largest number of open connections; fewer if the process may not open that many files."""


def _most() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files * 3 // 4)


class TimedConnection(H11Protocol):
    """A connection of uvicorn with time-outs, and errors in OpenAI's format."""

    most: ClassVar[int] = _most()
    """The largest number of open connections."""
    head: ClassVar[float] = 20.0
    """The time-out for the head of a request (seconds)."""
    body: ClassVar[float] = 60.0
    """The time-out for the body of a request (seconds)."""
    stuck: ClassVar[float] = 60.0
    """The time-out for a client that reads nothing of its answer (seconds)."""
    linger: ClassVar[float] = 2.0
    """How long the rest of a refused request is read and dropped (seconds)."""
    parting: ClassVar[float] = 0.5
    """The time left for an answer once the client has closed its sending side (seconds)."""

    transport: asyncio.Transport
    _refused = False
    _stage: Literal["head", "body"] | None = None
    _slow: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse the client if too many are connected."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.refuse(503, "too many open connections")
        else:
            self._expect("head")

    def data_received(self, data: bytes) -> None:
        """Handle bytes of the client."""
        if not self._refused:
            super().data_received(data)
            self._set_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle the end of what the client sends: refuse half a request, finish a whole one."""
        if self._stage is not None and self._received:
            self.conn.receive_data(b"")
            self.handle_events()
        if self._refused or not self._answering:
            return False
        self.loop.call_later(self.parting, self.transport.close)
        return True  # it stays open for the answer

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers of a closed connection."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._slow, self._stuck):
            if timer is not None:
                timer.cancel()

    def on_response_complete(self) -> None:
        """Start the timer of the next request."""
        super().on_response_complete()
        self._set_timer()

    def pause_writing(self) -> None:
        """Start to check whether a slow client still reads."""
        super().pause_writing()
        self._check_reading(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        """Stop that check once the client has caught up."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP; uvicorn calls this while it handles h11's error."""
        error = sys.exception()
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self.refuse(hint if hint < 500 else 400, f"not an HTTP request: {shortened(str(error))}")

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error unless an answer has started, and close the connection soon."""
        self._refused = True
        if self._answering:
            started = self.cycle.response_started
            self._leave()
        else:
            started = self.conn.our_state is not h11.IDLE
        if not started:
            self.transport.write(_error_reply(status, message))
        self._expect(None)
        self.flow.resume_reading()
        if not self.transport.get_write_buffer_size():
            with suppress(OSError):  # the client has gone
                self.transport.write_eof()
        self.loop.call_later(self.linger, self.transport.abort)

    def cut(self) -> None:
        """Close the connection at once."""
        if self._answering:
            self._leave()
            self.cycle.logger = CUT
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection after the answer in progress, or now if no request is complete."""
        if self._refused or self._stage is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def _leave(self) -> None:
        """Tell the app that the client has disconnected; the rest of its answer is dropped."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _received(self) -> bool:
        """Whether part of the next request has arrived."""
        return self._stage == "body" or bool(self.conn.trailing_data[0])

    def _set_timer(self) -> None:
        """Set the timer for the part of the request that the client must send next."""
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

    def _check_reading(self, before: int) -> None:
        """Check every `stuck` seconds that fewer bytes wait than before, or close."""
        waiting = self.transport.get_write_buffer_size()
        if waiting >= before:
            self.transport.abort()
        else:
            self._stuck = self.loop.call_later(self.stuck, self._check_reading, waiting)

    def _too_slow(self, after: float) -> None:
        if self._received:
            self.refuse(408, f"the {self._stage} of the request did not arrive in {after:g} s")
        else:
            self.transport.close()


def _error_reply(status: int, message: str) -> bytes:
    body = json.dumps(error_body(message, status)).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
