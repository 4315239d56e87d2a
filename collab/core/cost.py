"""What thinking costs: tokens, seconds, money and FLOPs; and the caps that end a run in time.

What a draw costs is said by its model's `Rates`, whether it is sampled now or was in the store: so
an episode's cost does not depend on who played it first. What is really spent now, cancelled draws
and all, goes through the `Account` of its seat into the run's `Ledger`, and into the store in the
transaction that keeps the draws.
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
    """What a model's tokens cost (US dollars a million)."""

    prompt: float = Field(default=0.0, ge=0)
    cached: float | None = Field(default=None, ge=0)
    """Of a prompt, what the server had in its cache; as dear as the rest where it is None."""
    completion: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What some draws cost, whoever is to pay for them."""

    draws: int = 0
    prompt: int = 0
    """Tokens read, those from a server's cache included."""
    cached: int = 0
    """Tokens that a server says it had in its cache."""
    completion: int = 0
    """Tokens written, wherever they went."""
    seconds: float = 0.0
    """From each request to its last token, one request after the other."""
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
        """Add up."""
        return sum(costs, cls())


@dataclass(frozen=True, slots=True)
class Rates:
    """By what a model's tokens are counted up."""

    prices: Prices = field(default_factory=Prices)
    parameters: float = 0.0
    """Billions of parameters that take part in a token; 0 where they are unknown."""

    def cost(self, generation: Generation) -> Cost:
        """Say what a draw cost when it was sampled.

        A token that is computed takes two FLOPs a parameter, the forward pass of Kaplan et al.
        (2020, section 2.1) without its part for the attention; a token from a cache takes none.
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
    """What a run may spend; None: no end is set."""

    money: float | None = Field(default=None, gt=0)
    """US dollars, over all starts of the run."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens sampled, over all starts of the run."""
    seconds: float | None = Field(default=None, gt=0)
    """How long one start may take."""


@dataclass
class Account:
    """What one seat spends. One that belongs to no ledger has no end."""

    rates: Rates = field(default_factory=Rates)
    ledger: Ledger | None = None
    spent: Cost = Cost()
    seat: str = ""

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Let the next request go, or not; what it brings is paid inside.

        Raises:
            CapReached: The run has spent what it may, and all that was under way has come.
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
        """Add what was sampled now, used or cancelled, and return what it cost."""
        cost = Cost.of(map(self.rates.cost, generations))
        self.spent += cost
        return cost


class Ledger:
    """What one start of a run spends.

    Args:
        caps: Where it ends.
        before: What the run's earlier starts spent.
        clock: Seconds from any moment.
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
        self._under_way, self._idle = 0, asyncio.Event()
        self._idle.set()

    def account(self, seat: str, rates: Rates) -> Account:
        """Open a seat's account."""
        self.accounts[seat] = Account(rates, self, seat=seat)
        return self.accounts[seat]

    @property
    def spent(self) -> Cost:
        """What this start has spent so far."""
        return Cost.of(account.spent for account in self.accounts.values())

    async def begin(self) -> None:
        """Let a request go, or not.

        What is under way is paid for, so it is waited for before the run ends and throws it away,
        unless it is its time that is up.

        Raises:
            CapReached: A cap is reached; the message says which and how to go on.
        """
        if (name := self._reached()) is not None:
            if name != "seconds":
                await self._idle.wait()
            cap, taken = getattr(self._caps, name), self._taken()[name]
            raise CapReached(
                f"caps.{name}={cap:g} is reached ({taken:,.6g} so far): what is done is kept; "
                "with a higher cap the same command goes on"
            )
        self._under_way += 1
        self._idle.clear()

    def end(self) -> None:
        """Note that a request is over."""
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    def _reached(self) -> str | None:
        """Return the name of a cap that is reached."""
        caps = {name: cap for name, cap in self._caps if cap is not None}
        taken = self._taken() if caps else {}
        return next((name for name, cap in caps.items() if taken[name] >= cap), None)

    def _taken(self) -> dict[str, float]:
        """Say how much there is of what has caps."""
        spent = self._before + self.spent
        return {
            "money": spent.money,
            "tokens": spent.completion,
            "seconds": self._clock() - self._began,
        }
