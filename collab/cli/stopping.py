"""End a command early: by a signal, or when the reader of its output has gone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
WORDS = {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


class StopSignal:
    """Records the signal that stopped the command."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The signal; None for Ctrl-C."""

    @property
    def status(self) -> int:
        """The exit status, as a shell reports a signal."""
        return 128 + (self.signal or signal.SIGINT)

    @property
    def word(self) -> str:
        """The word for the error message."""
        return WORDS[self.signal] if self.signal else "interrupted"


@contextmanager
def stoppable() -> Iterator[StopSignal]:
    """Make SIGTERM and SIGHUP end the command as Ctrl-C does, instead of killing it."""
    stop = StopSignal()

    def end(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        interrupt = signal.getsignal(signal.SIGINT)  # asyncio's own while a loop runs
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    deadly = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in deadly:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


def escape_unencodable() -> None:
    """Print characters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed or replaced
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # may be absent


def silence() -> None:
    """Discard the rest of the output, so that the exit does not fail without a reader."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
            continue
        with suppress(AttributeError, OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
