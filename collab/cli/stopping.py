"""How a command ends before its time: by a signal, or because nobody reads what it prints."""

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
    """Notes which signal stopped the command."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """None where it was none but Ctrl-C."""

    @property
    def status(self) -> int:
        """The exit status, as a shell tells of a signal."""
        return 128 + (self.signal or signal.SIGINT)

    @property
    def word(self) -> str:
        """What to say of it."""
        return WORDS[self.signal] if self.signal else "interrupted"


@contextmanager
def stoppable() -> Iterator[StopSignal]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, where they would kill it at once."""
    stop = StopSignal()

    def end(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        interrupt = signal.getsignal(signal.SIGINT)  # asyncio's own while a loop runs
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    deadly = [one for one in SIGNALS if signal.getsignal(one) is signal.SIG_DFL]
    for one in deadly:
        signal.signal(one, end)
    try:
        yield stop
    finally:
        for one in deadly:
            signal.signal(one, signal.SIG_DFL)


def legible() -> None:
    """Write out what the terminal's encoding lacks, instead of failing at it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed, or no stream of ours
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # is tried


def silence() -> None:
    """Send what is still to be printed nowhere: nobody reads it, and the exit must not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
            continue
        with suppress(AttributeError, OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
