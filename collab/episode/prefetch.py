"""Writing ahead: a write begun before it is decided, used if it is, stopped if not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from collab.core.decision import Decision, same_action
from collab.core.sampling import OnText
from collab.episode.reasoner import WrittenTurn
from collab.store.draw_numbers import DrawCounter


@dataclass
class PrefetchedWrite:
    """One write that was begun ahead."""

    path: tuple[Decision, ...]
    """The decisions that must still be taken for it to be used."""
    numbers: DrawCounter
    """Those of its draws."""
    task: asyncio.Task[WrittenTurn]
    pieces: list[str] = field(default_factory=list)
    """The text so far."""
    reader: OnText | None = None
    """Who reads along, once it is used."""

    async def use(self, reader: OnText | None) -> WrittenTurn:
        """Wait for it; who reads along now is told first what has come."""
        self.reader = reader
        if reader is not None and self.pieces:
            reader("".join(self.pieces))
        return await self.task

    def read(self, piece: str) -> None:
        """Take in the next stretch of its text."""
        self.pieces.append(piece)
        if self.reader is not None:
            self.reader(piece)


class Prefetch:
    """The writes of one episode that were begun ahead.

    A stopped one is never waited for while the episode goes on; `close` waits for all.
    """

    def __init__(self) -> None:
        self._ahead: list[PrefetchedWrite] = []
        self._stopping: set[asyncio.Task[WrittenTurn]] = set()

    def begin(
        self,
        path: tuple[Decision, ...],
        numbers: DrawCounter,
        write: Callable[[OnText], Coroutine[None, None, WrittenTurn]],
    ) -> None:
        """Begin a write; one that is under way with the same path is that write already."""
        if any(_agree(path, one.path) for one in self._ahead):
            return
        pieces: list[str] = []

        def read(piece: str) -> None:
            ahead.read(piece)

        ahead = PrefetchedWrite(path, numbers, asyncio.create_task(write(read)), pieces)
        self._ahead.append(ahead)

    def decide(self, decision: Decision) -> PrefetchedWrite | None:
        """Take note of a decision, and return the write that it uses, if one was begun.

        Writes that now lie on no path are stopped.
        """
        used, kept = None, list[PrefetchedWrite]()
        for one in self._ahead:
            if not same_action(one.path[0], decision):
                self._stop(one)
            elif len(one.path) == 1:
                used = one
            else:
                one.path = one.path[1:]
                kept.append(one)
        self._ahead = kept
        return used

    async def close(self) -> None:
        """Stop all that is left, and wait until it is stopped."""
        for one in self._ahead:
            self._stop(one)
        self._ahead = []
        if self._stopping:
            await asyncio.wait(self._stopping)

    def _stop(self, one: PrefetchedWrite) -> None:
        one.task.cancel()
        self._stopping.add(one.task)
        one.task.add_done_callback(_look)


def _agree(path: tuple[Decision, ...], other: tuple[Decision, ...]) -> bool:
    return len(path) == len(other) and all(map(same_action, path, other))


def _look(task: asyncio.Task[WrittenTurn]) -> None:
    """Take note of a stopped write's error: nobody needs what it would have written."""
    if not task.cancelled():
        task.exception()
