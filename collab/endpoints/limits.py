"""Limit the load on a server, and retry its requests.

A request waits for a free place and for the pace. It is repeated if its failure may pass:
exponential pauses with full jitter, the server's Retry-After respected by all requests to it, one
deadline over all attempts. The client library does not retry.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from collab.endpoints.pace import Pace
from collab.endpoints.window import Window
from collab.errors import (
    BadReply,
    Denied,
    EndpointError,
    KeyRepeated,
    PromptChanged,
    Unreachable,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_PAUSE = 0.5
"""Upper end of the first pause (seconds); each later one may be twice as long."""
LONGEST_PAUSE = 20.0
"""Upper end of any pause that the server did not ask for (seconds)."""

YEAR = 365 * 86_400.0
LISTING = 60.0
"""How long one attempt may take that is not repeated (seconds)."""


class Limits(BaseModel):
    """The load that each process puts on a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_second: float | None = Field(default=None, gt=0)
    """None: no limit. Repeated attempts count."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The same limit in a vendor's words; spread over the minute. The stricter of the two holds."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Tokens read and written; a prompt counts when it is sent, the completion when it arrives."""
    concurrency: int = Field(default=64, ge=1)
    """Requests under way at once; fewer while the server says that they are too many."""
    retries: int = Field(default=12, ge=0)
    """Attempts after the first, for failures that may pass; those at a time that the server named
    are not counted."""
    timeout: float = Field(default=1800.0, gt=0)
    """For one attempt (seconds); one that takes longer is stopped, and repeated."""
    deadline: float = Field(default=3600.0, gt=0)
    """For one request with its repetitions, from its first sending (seconds)."""

    @property
    def rate(self) -> float | None:
        """Requests a second, or None."""
        minutely = self.requests_per_minute and self.requests_per_minute / 60
        return min((rate for rate in (self.requests_per_second, minutely) if rate), default=None)

    @property
    def token_rate(self) -> float | None:
        """Tokens a second, or None."""
        return self.tokens_per_minute and self.tokens_per_minute / 60


class Retryable(Exception):
    """An attempt failed in a way that may pass; carries the error to raise if it does not."""

    def __init__(
        self, error: EndpointError, after: float | None = None, *, crowded: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        """The pause that the server asked for (seconds)."""
        self.crowded = crowded
        """Whether the server had too much to do."""


class Gate:
    """Lets requests to one server through as the limits allow, and repeats them."""

    def __init__(
        self,
        limits: Limits,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limits = limits
        self.window = Window(limits.concurrency)
        self.pace = Pace(limits.rate, limits.token_rate, clock, sleep)
        self.repeated = 0
        """Attempts after the first, of all requests."""
        self.crowded = 0
        """The number of responses 429 (too many requests)."""
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._served = False
        self._given_up: EndpointError | None = None

    async def run(
        self,
        attempt: Callable[[], Awaitable[T]],
        tokens: int = 0,
        *,
        repeatable: Callable[[], bool] = lambda: True,
    ) -> T:
        """Make attempts until one succeeds, fails for good, or the deadline passes.

        Waiting for the first place and the pace does not count against the deadline. If another
        request is given up meanwhile, the waiting ones raise the same error: a dead server is
        discovered once.

        Args:
            attempt: Sends the request.
            tokens: The tokens of its prompt.
            repeatable: Returns whether a failed attempt may be repeated; it may not once a reader
                has seen a part of its text.

        Raises:
            EndpointError: The error of the last attempt; Unreachable at the deadline.
        """
        known, failures = self._given_up, 0
        async with self.window.place() as mark:
            if (error := self._given_up) is not None and error is not known:
                raise type(error)(str(error))
            await self.pace.step(tokens)
            end = self._clock() + self.limits.deadline
            outcome = await self._try(attempt, end, mark)
        while isinstance(outcome, Retryable):
            failures += not (outcome.after and self.limits.retries)
            if not repeatable():
                self._give_up(outcome.error)
            await self._rest(outcome, failures, end)
            async with self.window.place(first=True) as mark:
                await self.pace.step(tokens)
                self.repeated += 1
                outcome = await self._try(attempt, end, mark)
        return outcome

    async def once(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt outside the limits.

        Raises:
            EndpointError: It failed.
        """
        longest = min(self.limits.timeout, self.limits.deadline, LISTING)
        try:
            async with asyncio.timeout(longest):
                return await attempt()
        except TimeoutError:
            raise Unreachable(f"no answer within {longest:g} s") from None
        except Retryable as failure:
            raise failure.error from None

    async def _try(
        self, attempt: Callable[[], Awaitable[T]], end: float, mark: int
    ) -> T | Retryable:
        """Make one attempt; a failure that may pass is returned."""
        try:
            found = await self._within(attempt, end)
        except Retryable as failure:
            if failure.crowded:
                self.crowded += 1
                self.window.crowded(mark)
            if failure.after:  # no request waits beyond the deadline, so others should not either
                self.pace.hush(min(failure.after, self.limits.deadline))
            return failure
        except (PromptChanged, KeyRepeated):
            raise
        except BadReply as error:  # from a server that has answered well: an accident on the way
            if not self._served:
                raise
            return Retryable(error)
        except (Denied, Unreachable) as error:
            self._given_up = error
            raise
        self._served, self._given_up = True, None
        self.window.served()
        return found

    async def _within(self, attempt: Callable[[], Awaitable[T]], end: float) -> T:
        """Stop an attempt that takes too long."""
        left = end - self._clock()
        try:
            async with asyncio.timeout(min(left, self.limits.timeout)) as timer:
                return await attempt()
        except TimeoutError as error:
            if not timer.expired():
                raise
            if left > self.limits.timeout:
                silent = f"no answer within the timeout of {self.limits.timeout:g} s"
                raise Retryable(Unreachable(f"{silent} (limits.timeout)")) from None
            raise Unreachable(
                f"no answer within the deadline of {self.limits.deadline:g} s; "
                "set the model's limits.deadline if the server needs longer"
            ) from error

    async def _rest(self, failure: Retryable, failures: int, end: float) -> None:
        """Wait before the next attempt; raise the last error if none is left."""
        asked = failure.after or 0.0
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(failures - 1, 0))
        pause = self._rng.uniform(0, longest) + asked
        if failures > self.limits.retries or self._clock() + pause >= end:
            error = failure.error
            if asked > self.limits.deadline:
                error = type(error)(
                    f"{error}; the server asks to wait {asked:g} s, longer than limits.deadline="
                    f"{self.limits.deadline:g} allows"
                )
            self._give_up(error)
        logger.info("%s; retrying in %.1f s", failure, pause)
        await self._sleep(pause)

    def _give_up(self, error: EndpointError) -> NoReturn:
        """Raise the error of a request; those that wait fail with it if the server is away."""
        if isinstance(error, Unreachable):
            self._given_up = error
        raise error from None


def retry_after(value: str | None, now: float) -> float | None:
    """Parse a Retry-After header, seconds or an HTTP date, as seconds from `now` (Unix time).

    The result is None for any other text, and at most a year.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now)
    return min(max(0.0, seconds), YEAR) if math.isfinite(seconds) else None


def _until(date: str, now: float) -> float:
    """Return the seconds until an HTTP date; NaN if it is not one."""
    try:
        found = parsedate_to_datetime(date)
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, LookupError, ArithmeticError):
        return math.nan
