"""Prefetch: a write that starts before it is decided, is used if it is, and stopped if not."""

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
    """A write that was started before it was decided."""

    path: tuple[Decision, ...]
    """The decisions still to be taken for the write to be used."""
    numbers: DrawCounter
    """The numbers of its draws."""
    task: asyncio.Task[WrittenTurn]
    pieces: list[str] = field(default_factory=list)
    """The text so far."""
    on_text: OnText | None = field(default=None, init=False)
    """Receives the text once the write is used."""

    async def use(self, on_text: OnText | None) -> WrittenTurn:
        """Wait for the write; `on_text` receives the text so far, then each further piece."""
        self.on_text = on_text
        if on_text is not None and self.pieces:
            on_text("".join(self.pieces))
        return await self.task

    def receive(self, piece: str) -> None:
        """Take in the next piece of text."""
        self.pieces.append(piece)
        if self.on_text is not None:
            self.on_text(piece)


class Prefetch:
    """The writes of one episode that were started before they were decided.

    A stopped write is not awaited while the episode continues; `close` waits for all.
    """

    def __init__(self) -> None:
        self._writes: list[PrefetchedWrite] = []
        self._stopping: set[asyncio.Task[WrittenTurn]] = set()

    def begin(
        self,
        path: tuple[Decision, ...],
        numbers: DrawCounter,
        write: Callable[[OnText], Coroutine[None, None, WrittenTurn]],
    ) -> None:
        """Start a write, unless one with the same path is in progress."""
        if any(_same_path(path, one.path) for one in self._writes):
            return

        def receive(piece: str) -> None:
            prefetched.receive(piece)

        prefetched = PrefetchedWrite(path, numbers, asyncio.create_task(write(receive)))
        self._writes.append(prefetched)

    def decide(self, decision: Decision) -> PrefetchedWrite | None:
        """Return the write that a decision uses, if any; stop the writes that it rules out."""
        used, kept = None, list[PrefetchedWrite]()
        for one in self._writes:
            if not same_action(one.path[0], decision):
                self._stop(one)
            elif len(one.path) == 1:
                used = one
            else:
                one.path = one.path[1:]
                kept.append(one)
        self._writes = kept
        return used

    async def close(self) -> None:
        """Stop all writes, and wait until they have stopped."""
        for one in self._writes:
            self._stop(one)
        self._writes = []
        if self._stopping:
            await asyncio.wait(self._stopping)

    def _stop(self, one: PrefetchedWrite) -> None:
        one.task.cancel()
        self._stopping.add(one.task)
        one.task.add_done_callback(_ignore_error)


def _same_path(path: tuple[Decision, ...], other: tuple[Decision, ...]) -> bool:
    return len(path) == len(other) and all(map(same_action, path, other))


def _ignore_error(task: asyncio.Task[WrittenTurn]) -> None:
    """Retrieve the error of a stopped write, which has no use any more."""
    if not task.cancelled():
        task.exception()
