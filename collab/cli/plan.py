"""`collab plan`: what a run would cost, and three of its prompts; nothing is sent."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean
from typing import NoReturn

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from collab.app.compose import add_config_arguments, composed
from collab.app.session import NotStored, opened
from collab.config.config import Built
from collab.core.cost import MILLION, Cost, Prices, Rates
from collab.core.policy import Inquiry
from collab.episode.engine import Case
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.episode.team import Team
from collab.reasoners.model import Model
from collab.report.trajectory import safe
from collab.runs.run import Setup, SilentStages, each, empty_bank, fill
from collab.scenarios.base import Bank, Plan


@dataclass
class _Count:
    """Draws that the store has, and that would be sent."""

    stored: int = 0
    owed: int = 0


def main(argv: list[str]) -> int:
    """Print the plan of a run."""
    parser = argparse.ArgumentParser(prog="collab plan", description=__doc__)
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    built = composed(asked.overrides, asked.config_dir, trust=asked.trust)
    asyncio.run(_plan(built, Console(soft_wrap=True, highlight=False)))
    return 0


async def _plan(built: Built, console: Console) -> None:
    async with opened(built, sends=False) as (setup, _):
        solos = await _solos(setup, console)
        if solos.owed:
            most = setup.scenario.most(len(setup.questions), setup.policy)
            console.print(f"episodes: at most {most}; which ones is known when the solo draws are")
            _bound(setup, solos.owed + most, console)
            alone = [Case(q.id, q, setup.policy) for q in setup.questions[:3]]
            await _prompts(setup, alone, console)
            return
        bank = empty_bank(setup)
        await fill(bank, setup, SilentStages(), {})
        await _episodes(setup, bank, console)


async def _solos(setup: Setup, console: Console) -> _Count:
    """Count the solo draws, seat by seat."""
    total = _Count()
    for seat, count in setup.scenario.solos().items():
        if seat in setup.recorded:
            console.print(setup.recorded[seat].describe(seat, setup.questions, count), markup=False)
            continue
        model = setup.team[seat]
        assert isinstance(model, Model)
        here = _Count()
        for question in setup.questions:
            for draw in range(count):
                try:
                    await model.solo(question, range(draw, draw + 1), setup.budget)
                    here.stored += 1
                except NotStored:
                    here.owed += 1
        console.print(f"solo draws of {seat}: {here.stored} stored, {here.owed} to send")
        total = _Count(total.stored + here.stored, total.owed + here.owed)
    return total


async def _episodes(setup: Setup, bank: Bank, console: Console) -> None:
    """Play every case as far as the store goes, and count."""
    plan = await Plan.of(setup.scenario.cases(bank, setup.policy))
    count = _Count()
    lengths: list[int] = []
    costs: list[float] = []

    async def one(case: Case) -> None:
        try:
            episode = await setup.play(case)
        except NotStored:
            count.owed += 1
        else:
            count.stored += 1
            lengths.append(sum(unit.tokens for unit in episode.trajectory.generated))
            costs.append(Cost.of(c for by in episode.costs.values() for c in by.values()).money)

    await each(plan.cases, one, setup.concurrency)
    console.print(f"episodes: {len(plan.cases)} ({count.stored} stored, {count.owed} to play)")
    solos = [s.tokens for of in bank.solos.values() for each_ in of.values() for s in each_]
    if known := lengths or solos:
        console.print(
            f"tokens to sample: about {count.owed * mean(known):,.0f} ({mean(known):.0f} an "
            f"episode, from what is stored), at most {count.owed * setup.budget:,}"
        )
    if any(costs):
        console.print(
            f"money: about ${count.owed * mean(costs):,.4g} (${mean(costs):.2g} an episode, from "
            "what is stored)"
        )
    elif count.owed:
        _bound(setup, count.owed, console, tokens=not known)
    for note in plan.notes:
        console.print(f"  {note}", style="dim")
    await _prompts(setup, plan.cases[:: max(len(plan.cases) // 3, 1)][:3], console)


def _bound(setup: Setup, owed: int, console: Console, *, tokens: bool = True) -> None:
    """Print what so many trajectories take at most; of what is read nobody knows how often."""
    written = owed * setup.budget
    if tokens:
        console.print(f"tokens to sample: at most {written:,} ({setup.budget:,} a trajectory)")
    models = {seat: one for seat, one in setup.team.seats.items() if isinstance(one, Model)}
    prices = {seat: model.rates.prices for seat, model in models.items()}
    seat = max(prices, key=lambda seat: prices[seat].completion, default="")
    if prices and (dear := prices[seat]) != Prices():
        console.print(
            f"money: at most ${written * dear.completion / MILLION:,.4g} for what is written, were "
            f"it all by {seat}; besides, prompts at ${dear.prompt:g} a million tokens, read anew "
            "for every unit"
        )


async def _prompts(setup: Setup, cases: Sequence[Case], console: Console) -> None:
    """Print the first prompt that each case sends, as the model reads it."""
    for case in cases:
        first = _First()
        seats = setup.team.seats.items()
        team = Team({s: _Listening(m, first) if isinstance(m, Model) else m for s, m in seats})
        with suppress(_Enough):
            await setup.play(case, team=team)
        console.print(Rule(Text(safe(case.id)), align="left"))
        console.print(Text(safe(first.prompt)))


class _Enough(Exception):
    """The first prompt is there."""


@dataclass
class _First:
    """The first prompt that a case sends."""

    prompt: str = ""


@dataclass(frozen=True)
class _Listening:
    """A reasoner that notes its prompt instead of writing."""

    inner: Model
    first: _First

    @property
    def can(self) -> frozenset[str]:
        """Do what the model can."""
        return self.inner.can

    @property
    def think_close(self) -> str:
        """Close the thinking as the model does."""
        return self.inner.think_close

    @property
    def rates(self) -> Rates:
        """Cost what the model costs."""
        return self.inner.rates

    def count(self, text: str) -> int | None:
        """Count as the model does."""
        return self.inner.count(text)

    async def write(self, turn: Turn) -> WrittenTurn:
        """Note the prompt.

        Raises:
            _Enough: Always.
        """
        return self._note(self.inner.render_prompt(turn))

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Note the prompt.

        Raises:
            _Enough: Always.
        """
        return self._note(self.inner.render_prompt(turn, inquiry))

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Note the prompt.

        Raises:
            _Enough: Always.
        """
        return self._note(self.inner.render_prompt(turn) + text)

    def _note(self, prompt: str) -> NoReturn:
        self.first.prompt = prompt
        raise _Enough
