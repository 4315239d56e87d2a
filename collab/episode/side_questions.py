"""Side questions: while a policy decides, it asks seats, scores texts and starts writes.

Each object serves one decision. Replies are logged in the order of the questions, whichever comes
first, so that an episode that is decided again has the same log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from collab.core.decision import Decision
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.trajectory import Asked, Event, Scored
from collab.episode.reasoner import Likelihoods, Reply
from collab.episode.watchdog import Stuck, Watched
from collab.errors import PolicyError

ASIDES = 1_000
"""Side questions in one decision after which a policy is taken to loop."""
PATIENCE = 60.0
"""Seconds that a policy may take to decide, not counting side questions."""


class EpisodeState(Protocol):
    """The parts of an episode that side questions need."""

    async def ask(self, seat: str, inquiry: Inquiry) -> Reply:
        """Ask a seat a side question."""
        ...

    async def score(self, seat: str, text: str) -> Likelihoods:
        """Score a text under a seat's model."""
        ...

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Start the write at the end of a path of decisions."""
        ...


class SideQuestions:
    """The side channel of one view."""

    def __init__(self, episode: EpisodeState) -> None:
        self._episode = episode
        self._events: list[Event | None] = []
        self._waiting = 0
        self._open = True
        self._limit: asyncio.Timeout | None = None

    async def decide(self, decide: Callable[[], Awaitable[Decision]]) -> Decision:
        """Let a policy decide, for at most `PATIENCE` seconds without a side question.

        Raises:
            PolicyError: It takes longer, or does not await one of its side questions.
        """
        deciding = decide()
        if not isinstance(deciding, Awaitable):
            raise PolicyError("its decide is not a coroutine: write `async def decide`")
        try:
            async with asyncio.timeout(PATIENCE) as self._limit:
                decision = await Watched(deciding, PATIENCE)
        except TimeoutError as error:
            if self._limit is not None and self._limit.expired():
                raise PolicyError(
                    f"it did not decide within {PATIENCE:g} s, and asked no side question meanwhile"
                ) from None
            raise error
        except Stuck:
            raise PolicyError(
                f"it blocked the event loop for {PATIENCE:g} s: it awaits nothing"
            ) from None
        finally:
            self._open = False
        if self._waiting:
            raise PolicyError("it decided before a side question was answered: await the reply")
        return decision

    @property
    def events(self) -> list[Event]:
        """The side questions answered so far, in the order in which they were asked."""
        return [event for event in self._events if event is not None]

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Ask a seat a side question."""
        async with self._asking() as place:
            reply = await self._episode.ask(seat, inquiry)
            tokens = sum(one.generation.completion_tokens for one in reply.drawn)
            answer, keys = reply.answer, tuple(one.generation.key for one in reply.drawn)
            self._events[place] = Asked(
                seat, inquiry.text, answer.text, keys, tokens, answer.chances
            )
            return answer

    async def score(self, seat: str, text: str) -> Likelihood:
        """Score a text under a seat's model."""
        async with self._asking() as place:
            scored = await self._episode.score(seat, text)
            likely, keys = scored.likelihood, tuple(one.generation.key for one in scored.drawn)
            self._events[place] = Scored(seat, text, likely.logprob, likely.tokens, keys)
            return likely

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Start a write before it is decided."""
        self._check_open("prefetches")
        self._episode.prefetch(path)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[int]:
        """Reserve a place in the log; the time-out is suspended meanwhile."""
        self._check_open("asks")
        if len(self._events) == ASIDES:
            raise PolicyError(f"it asked {ASIDES} side questions in one decision")
        self._events.append(None)
        place = len(self._events) - 1
        self._count_waiting(1)
        try:
            yield place
        finally:
            self._count_waiting(-1)

    def _count_waiting(self, change: int) -> None:
        self._waiting += change
        if self._open and self._limit is not None and not self._limit.expired():
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(None if self._waiting else now + PATIENCE)

    def _check_open(self, action: str) -> None:
        if not self._open:
            raise PolicyError(f"a policy {action} through a view whose decision is taken")
