"""What a policy does while it decides: it asks, has texts scored, and has writes begun ahead.

A desk is open for one decision. What happened on the side stands in the log in the order in which
it was asked for, whatever came back first: an episode decided again has the same log.
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
"""Side questions in one decision after which a policy is taken to be going round in circles."""
PATIENCE = 60.0
"""Seconds that a policy may think by itself, without asking anybody, before it is given up."""


class EpisodeState(Protocol):
    """What a desk needs of its episode."""

    async def ask(self, seat: str, inquiry: Inquiry) -> Reply:
        """Ask a seat on the side."""
        ...

    async def score(self, seat: str, text: str) -> Likelihoods:
        """Have a seat say how likely it finds a text."""
        ...

    def begin(self, path: tuple[Decision, ...]) -> None:
        """Begin the write at the end of a path of decisions."""
        ...


class SideQuestions:
    """Carries out `ask`, `score` and `prefetch` of one view."""

    def __init__(self, host: EpisodeState) -> None:
        self._host = host
        self._events: list[Event | None] = []
        self._waiting = 0
        self._open = True
        self._limit: asyncio.Timeout | None = None

    async def decide(self, decide: Callable[[], Awaitable[Decision]]) -> Decision:
        """Let a policy decide, as long as it asks somebody or comes to an end.

        Raises:
            PolicyError: It thinks for ever, or leaves a question of its own unanswered.
        """
        deciding = decide()
        if not isinstance(deciding, Awaitable):
            raise PolicyError("its decide is no coroutine: write `async def decide`")
        try:
            async with asyncio.timeout(PATIENCE) as self._limit:
                decision = await Watched(deciding, PATIENCE)
        except TimeoutError as error:
            if self._limit is not None and self._limit.expired():
                said = f"it did not decide within {PATIENCE:g} s, and asked nobody meanwhile"
                raise PolicyError(said) from None
            raise error
        except Stuck:
            said = f"it let nothing else go on for {PATIENCE:g} s: it awaits nothing"
            raise PolicyError(said) from None
        finally:
            self._open = False
        if self._waiting:
            raise PolicyError("it decided while a side question of its own was open; await it")
        return decision

    @property
    def events(self) -> list[Event]:
        """What happened on the side, in the order in which it was asked for."""
        return [event for event in self._events if event is not None]

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Ask a seat on the side."""
        async with self._asking() as place:
            reply = await self._host.ask(seat, inquiry)
            tokens = sum(one.generation.completion_tokens for one in reply.drawn)
            said, keys = reply.said, tuple(one.generation.key for one in reply.drawn)
            self._events[place] = Asked(seat, inquiry.text, said.text, keys, tokens, said.chances)
            return said

    async def score(self, seat: str, text: str) -> Likelihood:
        """Have a seat say how likely it finds a text."""
        async with self._asking() as place:
            rated = await self._host.score(seat, text)
            likely, keys = rated.likelihood, tuple(one.generation.key for one in rated.drawn)
            self._events[place] = Scored(seat, text, likely.logprob, likely.tokens, keys)
            return likely

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Have a write begun ahead."""
        self._check_open("prefetches")
        self._host.begin(path)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[int]:
        """Keep a place in the log for what is asked; nobody's patience runs out meanwhile."""
        self._check_open("asks")
        if len(self._events) == ASIDES:
            raise PolicyError(f"it asked {ASIDES} times in one decision")
        self._events.append(None)
        place = len(self._events) - 1
        self._wait(1)
        try:
            yield place
        finally:
            self._wait(-1)

    def _wait(self, change: int) -> None:
        self._waiting += change
        if self._open and self._limit is not None and not self._limit.expired():
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(None if self._waiting else now + PATIENCE)

    def _check_open(self, does: str) -> None:
        if not self._open:
            raise PolicyError(f"a policy {does} through a view whose decision is taken")
