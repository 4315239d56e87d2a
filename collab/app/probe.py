"""Measure how fast a run's models sample, by some of the solo draws that the run needs anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from collab.app.session import opened
from collab.config.config import Built
from collab.core.cost import Cost
from collab.core.trajectory import Question
from collab.reasoners.model import Model, models_of
from collab.runs.run import Setup, each

PROBE = 10.0
"""How long the speed is measured (seconds)."""


@dataclass(frozen=True)
class Speed:
    """The speed at which solo draws were sampled."""

    draws: int
    """Finished draws; they are in the store."""
    tokens: int
    """The tokens of these."""
    seconds: float

    def describe(self, draws: int, *, most: bool) -> str:
        """Estimate the time that more draws of this length take.

        Args:
            draws: The number of solo draws and episodes to come.
            most: Whether that is an upper bound.
        """
        left = timedelta(seconds=round(draws * self.seconds / self.draws))
        rate, length = self.tokens / self.seconds, self.tokens / self.draws
        return (
            f"time: {'at most ' if most else ''}about {left}, at {rate:,.0f} tokens/s and "
            f"{length:,.0f} tokens a draw (measured on {self.draws:,} solo draws in "
            f"{self.seconds:.0f} s, which are stored)"
        )


async def probe_speed(built: Built, seconds: float = PROBE) -> Speed | None:
    """Sample solo draws of a run for some seconds, with as many at once as the run has.

    Returns:
        The speed; None if all draws were stored, or none ended in time.

    Raises:
        CollabError: The run cannot be opened, or a server fails.
    """
    async with opened(built) as (setup, _):
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await each(_draws(setup), _sample, setup.concurrency)
        elapsed = time.monotonic() - began
        spent = Cost.of(model.account.spent for model in models_of(setup.team).values())
    return Speed(spent.draws, spent.completion, elapsed) if spent.draws else None


async def probe_first(runs: Sequence[Built]) -> Speed | None:
    """Measure the speed of the first run that has a solo draw to sample."""
    for built in runs:
        if speed := await probe_speed(built):
            return speed
    return None


@dataclass(frozen=True)
class _SoloDraw:
    """One solo draw, and who samples it."""

    model: Model
    question: Question
    draw: int
    budget: int


def _draws(setup: Setup) -> Iterator[_SoloDraw]:
    """Yield the solo draws of a run, the first of each question first."""
    wanted = {seat: n for seat, n in setup.scenario.solos().items() if seat not in setup.recorded}
    models = models_of(setup.team)
    for draw in range(max(wanted.values(), default=0)):
        for question in setup.questions:
            for seat, count in wanted.items():
                if draw < count and seat in models:
                    yield _SoloDraw(models[seat], question, draw, setup.budget)


async def _sample(one: _SoloDraw) -> None:
    await one.model.solo(one.question, range(one.draw, one.draw + 1), one.budget)
