"""How hard a server may be pressed, and the one place that tries again.

Requests are spread by `asyncio_throttle`, capped in number by a semaphore, and repeated when the
failure may pass: exponential pauses with full jitter, a server's own Retry-After respected, and one
deadline over all attempts. Nobody else retries; the client library is told not to.
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
from typing import TypeVar

from asyncio_throttle.throttler import Throttler
from pydantic import BaseModel, ConfigDict, Field

from collab.errors import EndpointError, Unreachable

logger = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_PAUSE = 0.5
"""Upper end of the first pause (seconds); each later one may be twice as long."""
LONGEST_PAUSE = 60.0
"""Upper end of any pause that the server did not ask for (seconds)."""


class Limits(BaseModel):
    """What a server is asked to bear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_second: float | None = Field(default=None, gt=0)
    """No limit where it is None; repeated attempts count too."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The same limit in a vendor's words; spread over the minute. The stricter of the two holds."""
    concurrency: int = Field(default=64, ge=1)
    """Requests under way at once."""
    retries: int = Field(default=6, ge=0)
    """Attempts after the first, for failures that may pass."""
    deadline: float = Field(default=1800.0, gt=0)
    """For one request with its repetitions, from its first sending (seconds)."""

    @property
    def rate(self) -> float | None:
        """Requests a second, or None."""
        minutely = self.requests_per_minute and self.requests_per_minute / 60
        return min((rate for rate in (self.requests_per_second, minutely) if rate), default=None)


class Again(Exception):
    """An attempt failed in a way that may pass; carries the error to raise if it does not."""

    def __init__(self, error: EndpointError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        """Seconds the server asked to be left alone."""


class Gate:
    """Lets requests through as the limits allow, and repeats them."""

    def __init__(
        self,
        limits: Limits,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limits = limits
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._throttle = throttler(limits.rate)
        self._turn = asyncio.Lock()

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make attempts until one succeeds, fails for good, or time is up.

        Waiting for a slot and for the throttle does not count against the deadline.

        Raises:
            EndpointError: What the last attempt met; Unreachable at the deadline.
        """
        async with self._slots:
            await self._pass()
            return await self._attempts(attempt)

    async def _attempts(self, attempt: Callable[[], Awaitable[T]]) -> T:
        end = self._clock() + self.limits.deadline
        failures = 0
        while True:
            try:
                return await self._within(attempt, end - self._clock())
            except Again as failure:
                failures += 1
                pause = self._pause(failures, failure, end)
                logger.info("%s; attempt %d follows in %.1f s", failure, failures + 1, pause)
                await self._sleep(pause)
                await self._pass()

    async def _within(self, attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds) as timer:
                return await attempt()
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise Unreachable(
                f"no answer within the deadline of {self.limits.deadline:g} s; "
                "set the model's limits.deadline if the server needs longer"
            ) from error

    def _pause(self, failures: int, failure: Again, end: float) -> float:
        """Choose how long to wait, or raise what was met."""
        if failures > self.limits.retries:
            raise failure.error from None
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        pause = self._rng.uniform(0, longest) + (failure.after or 0.0)
        if self._clock() + pause >= end:
            raise failure.error from None
        return pause

    async def _pass(self) -> None:
        """Wait for the throttle. It polls, so that one waiter at a time asks it, in order."""
        if self._throttle is not None:
            async with self._turn:
                await self._throttle.acquire()  # type: ignore[no-untyped-call]  # not annotated


def throttler(rate: float | None) -> Throttler | None:
    """Spread `rate` requests a second over periods of about one second, never faster.

    A throttler lets its whole period's share pass at once: 90 a minute are one every 2/3 s, not
    90 in the first instant.
    """
    if rate is None:
        return None
    share = max(1, math.floor(rate))
    return Throttler(rate_limit=share, period=share / rate)


def retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date, as seconds from `now` (Unix time)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
