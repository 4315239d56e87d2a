"""Costs in tokens, seconds, money and FLOPs, and the caps that end a run.

A model's `Rates` give the cost of a draw, whether it is sampled now or was in the store, so that an
episode's cost does not depend on who played it first. Actual spending, cancelled draws included,
goes through the `Account` of a seat into the run's `Ledger`, and into the store in the transaction
that keeps the draws.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import Field

from collab.core.sampling import Generation
from collab.core.settings import Settings
from collab.errors import CapReached

MILLION = 1_000_000


class Prices(Settings):
    """Prices of a model's tokens (US dollars per million)."""

    prompt: float = Field(default=0.0, ge=0)
    cached: float | None = Field(default=None, ge=0)
    """Price of prompt tokens in the server's cache; None: the same as `prompt`."""
    completion: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of some draws."""

    draws: int = 0
    prompt: int = 0
    """Tokens read, cached ones included."""
    cached: int = 0
    """Tokens that the server reported as cached."""
    completion: int = 0
    """Tokens written."""
    seconds: float = 0.0
    """The time from request to last token, summed over the requests."""
    money: float = 0.0
    """US dollars."""
    flops: float = 0.0

    def __add__(self, more: Cost) -> Cost:
        return Cost(
            self.draws + more.draws,
            self.prompt + more.prompt,
            self.cached + more.cached,
            self.completion + more.completion,
            self.seconds + more.seconds,
            self.money + more.money,
            self.flops + more.flops,
        )

    @classmethod
    def of(cls, costs: Iterable[Cost]) -> Cost:
        """Add up costs."""
        return sum(costs, cls())


@dataclass(frozen=True, slots=True)
class Rates:
    """Convert a model's token counts to cost."""

    prices: Prices = field(default_factory=Prices)
    parameters: float = 0.0
    """Active parameters per token (billions); 0: unknown."""

    def cost(self, generation: Generation) -> Cost:
        """Return the cost of a draw when it was sampled.

        A computed token takes two FLOPs per parameter: the forward pass of Kaplan et al. (2020,
        section 2.1) without attention. A cached token takes none.
        """
        one = generation
        cached = one.cached_tokens or 0
        read, prices = one.prompt_tokens - cached, self.prices
        dollars = read * prices.prompt + one.completion_tokens * prices.completion
        dollars += cached * (prices.prompt if prices.cached is None else prices.cached)
        return Cost(
            draws=1,
            prompt=one.prompt_tokens,
            cached=cached,
            completion=one.completion_tokens,
            seconds=one.seconds,
            money=dollars / MILLION,
            flops=2e9 * self.parameters * (read + one.completion_tokens),
        )


class Caps(Settings):
    """Limits on the spending of a run; None: unlimited."""

    money: float | None = Field(default=None, gt=0)
    """US dollars, over all starts of the run."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens sampled, over all starts of the run."""
    seconds: float | None = Field(default=None, gt=0)
    """Duration of one start."""


@dataclass
class Account:
    """The spending of one seat; without a ledger it has no limit."""

    rates: Rates = field(default_factory=Rates)
    ledger: Ledger | None = None
    spent: Cost = Cost()
    seat: str = ""

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Open a request; pay for its generations inside.

        Raises:
            CapReached: A cap is reached, and all requests in progress have ended.
        """
        if self.ledger is None:
            yield
            return
        await self.ledger.begin()
        try:
            yield
        finally:
            self.ledger.end()

    def pay(self, generations: Iterable[Generation]) -> Cost:
        """Add generations sampled now, used or cancelled, and return their cost."""
        cost = Cost.of(map(self.rates.cost, generations))
        self.spent += cost
        return cost


class Ledger:
    """The spending of one start of a run.

    Args:
        caps: The limits.
        before: The spending of the run's earlier starts.
        clock: Returns seconds since some fixed moment.
    """

    def __init__(
        self,
        caps: Caps | None = None,
        before: Cost | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accounts: dict[str, Account] = {}
        self._caps, self._before = caps or Caps(), before or Cost()
        self._clock, self._began = clock, clock()
        self._in_progress, self._idle = 0, asyncio.Event()
        self._idle.set()

    def account(self, seat: str, rates: Rates) -> Account:
        """Open the account of a seat."""
        self.accounts[seat] = Account(rates, self, seat=seat)
        return self.accounts[seat]

    @property
    def spent(self) -> Cost:
        """The spending of this start so far."""
        return Cost.of(account.spent for account in self.accounts.values())

    async def begin(self) -> None:
        """Count a request as in progress, unless a cap is reached.

        Requests in progress are paid for, so they are awaited before the run ends, unless the cap
        is the one on seconds.

        Raises:
            CapReached: A cap is reached; the message names it and says how to continue.
        """
        if (name := self._reached()) is not None:
            if name != "seconds":
                await self._idle.wait()
            cap, taken = getattr(self._caps, name), self._taken()[name]
            raise CapReached(
                f"caps.{name}={cap:g} is reached ({taken:,.6g} so far): all results are kept; "
                "run the same command with a higher cap to continue"
            )
        self._in_progress += 1
        self._idle.clear()

    def end(self) -> None:
        """Count a request as ended."""
        self._in_progress -= 1
        if not self._in_progress:
            self._idle.set()

    def _reached(self) -> str | None:
        """Return the name of a cap that is reached; None if there is none."""
        caps = {name: cap for name, cap in self._caps if cap is not None}
        taken = self._taken() if caps else {}
        return next((name for name, cap in caps.items() if taken[name] >= cap), None)

    def _taken(self) -> dict[str, float]:
        """Return the spending so far by the name of its cap."""
        spent = self._before + self.spent
        return {
            "money": spent.money,
            "tokens": spent.completion,
            "seconds": self._clock() - self._began,
        }
