"""Spread requests and tokens over time: a vendor's limit per minute is not used in one burst."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from asyncio_throttle.throttler import Throttler


class Pace:
    """Lets one request after the other go, in the order of their coming.

    Args:
        requests: A second, or None.
        tokens: A second, or None.
        clock: Seconds from any moment.
        sleep: How to wait some seconds.
    """

    def __init__(
        self,
        requests: float | None,
        tokens: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._throttle, self._tokens = throttler(requests), tokens
        self._clock, self._sleep = clock, sleep
        self._turn = asyncio.Lock()
        self._next = self._quiet = -math.inf

    def hush(self, seconds: float) -> None:
        """Pause all requests, as the server asked."""
        self._quiet = max(self._quiet, self._clock() + seconds)

    def charge(self, tokens: int) -> None:
        """Count tokens that were read or written; the next request waits until they are made up.

        At most one second's share is saved up.
        """
        if self._tokens is not None:
            self._next = max(self._next, self._clock() - 1.0) + tokens / self._tokens

    async def step(self, tokens: int) -> None:
        """Wait until a request that reads so many tokens may go."""
        free = self._throttle is None and self._tokens is None
        if free and self._quiet <= self._clock():
            return
        async with self._turn:  # the throttle polls: one waiter at a time asks it, in order
            if self._throttle is not None:
                await self._throttle.acquire()  # type: ignore[no-untyped-call]  # not annotated
            while (wait := max(self._next, self._quiet) - self._clock()) > 0:
                await self._sleep(wait)
            self.charge(tokens)


def throttler(rate: float | None) -> Throttler | None:
    """Spread `rate` requests a second over periods of about one second, never faster.

    A throttler lets its whole period's share pass at once: 90 a minute are one every 2/3 s, not
    90 in the first instant.
    """
    if rate is None:
        return None
    share = max(1, math.floor(rate))
    return Throttler(rate_limit=share, period=share / rate)
