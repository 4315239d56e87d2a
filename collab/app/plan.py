"""Plan a run: count its episodes, tokens and money without sending anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import NoReturn

from rich.console import Group, RenderableType
from rich.jupyter import JupyterMixin
from rich.rule import Rule
from rich.text import Text

from collab.app.background import run_sync
from collab.app.compose import composed
from collab.app.error_line import collab_errors
from collab.app.model_identity import is_known
from collab.app.overrides import override_words
from collab.app.session import NotStored, opened
from collab.config.config import Built
from collab.core.cost import MILLION, Cost, Prices, Rates
from collab.core.policy import Inquiry, Policy
from collab.episode.engine import Case
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.episode.team import Team
from collab.reasoners.model import Model, models_of
from collab.report.trajectory import safe
from collab.runs.run import Setup, SilentStages, each, empty_bank, fill
from collab.scenarios.base import Bank, Plan

SHOWN = 3
"""The number of first prompts in a plan."""


@dataclass(frozen=True)
class DrawCounts:
    """Counts of generations or episodes."""

    stored: int = 0
    """In the store already."""
    owed: int = 0
    """To be sampled."""


@dataclass(frozen=True, repr=False)
class RunPlan(JupyterMixin):
    """A run before it is played: its episodes, tokens and money, and its first prompts."""

    solos: Mapping[str, DrawCounts | str]
    """The solo draws of each seat; of a seat with recorded traces, a description of them."""
    episodes: DrawCounts | None
    """None while solo draws are owed: they decide which episodes there are."""
    most_episodes: int
    """The number of episodes, or an upper bound while solo draws are owed."""
    most_tokens: int
    """An upper bound of the tokens to sample."""
    budget: int
    """Tokens that a trajectory may have at most."""
    tokens_each: float | None = None
    """The mean tokens of a stored episode; None: no episode is stored."""
    money_each: float | None = None
    """The mean cost of a stored episode (US dollars); None: unknown or free."""
    dearest: tuple[str, Prices] | None = None
    """The seat with the highest price of written tokens, and its prices."""
    notes: Sequence[str] = ()
    """The scenario's remarks on its cases."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """The first prompt of some cases, by case."""
    owed: frozenset[str] = frozenset()
    """The solo draws to send: runs that need the same one send it once."""
    unshared: Mapping[str, str] = field(default_factory=dict)
    """The seats whose draws no other run can use, with the id of their model."""

    @property
    def tokens(self) -> float | None:
        """The tokens that the owed episodes are likely to take; None: unknown."""
        if self.episodes is None or self.tokens_each is None:
            return None
        return self.episodes.owed * self.tokens_each

    @property
    def exact(self) -> bool:
        """Whether it is known which episodes there are."""
        return self.episodes is not None

    @property
    def draws(self) -> int:
        """The solo draws and episodes to come, at most."""
        return self.episodes.owed if self.episodes else len(self.owed) + self.most_episodes

    @property
    def remarks(self) -> list[str]:
        """A line for each seat whose draws no other run can use."""
        return [
            f"draws of {seat} stay with one run: nothing says which weights {model!r} is; to share "
            f"them, set team.{seat}.revision, or team.{seat}.checkpoint to a folder with weights"
            for seat, model in self.unshared.items()
        ]

    def __str__(self) -> str:
        """Return the counts and notes, without the prompts."""
        return "\n".join([*self._lines(), *(f"  {note}" for note in self.notes)])

    def __repr__(self) -> str:
        """Return the counts and notes, without the prompts."""
        return str(self)

    def __rich__(self) -> RenderableType:
        """Return the counts, the notes and the prompts."""
        prompts = (
            part
            for case, prompt in self.prompts.items()
            for part in (Rule(Text(safe(case)), align="left"), Text(safe(prompt)))
        )
        lines = (Text(safe(line)) for line in self._lines())
        notes = (Text(safe(f"  {note}"), style="dim") for note in self.notes)
        return Group(*lines, *notes, *prompts)

    def _lines(self) -> Iterator[str]:
        for seat, draws in self.solos.items():
            if isinstance(draws, str):
                yield draws
            else:
                yield f"solo draws of {seat}: {draws.stored} stored, {draws.owed} to send"
        yield from self.remarks
        if self.episodes is None:
            yield (
                f"episodes: at most {self.most_episodes}; which ones is known when the solo draws "
                "are"
            )
        else:
            stored, owed = self.episodes.stored, self.episodes.owed
            yield f"episodes: {self.most_episodes} ({stored} stored, {owed} to play)"
        yield from self._tokens()
        yield from self._money()

    def _tokens(self) -> Iterator[str]:
        if self.tokens is not None:
            yield (
                f"tokens to sample: about {self.tokens:,.0f} ({self.tokens_each:.0f} an episode, "
                f"from what is stored), at most {self.most_tokens:,}"
            )
        elif self.most_tokens:
            yield f"tokens to sample: at most {self.most_tokens:,} ({self.budget:,} a trajectory)"

    def _money(self) -> Iterator[str]:
        if self.money_each is not None and self.episodes is not None:
            yield (
                f"money: about ${self.episodes.owed * self.money_each:,.4g} "
                f"(${self.money_each:.2g} an episode, from what is stored)"
            )
        elif self.dearest and self.most_tokens:
            seat, prices = self.dearest
            yield (
                f"money: at most ${self.most_tokens * prices.completion / MILLION:,.4g} for what "
                f"is written, were it all by {seat}; besides, prompts at ${prices.prompt:g} a "
                "million tokens, read anew for every unit"
            )


def plan(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    **settings: object,
) -> RunPlan:
    """Plan a run, as `collab plan` does in the shell; nothing is sent.

        import collab

        print(collab.plan("twin=recoverability", budget=2000))

    Args:
        overrides: As in `run`.
        policy: As in `run`.
        config_dirs: As in `run`.
        trust: As in `run`.
        settings: As in `run`.

    Raises:
        CollabError: A setting is wrong, or a checkpoint cannot be read.
    """
    return run_sync(
        aplan(*overrides, policy=policy, config_dirs=config_dirs, trust=trust, **settings)
    )


async def aplan(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    **settings: object,
) -> RunPlan:
    """Plan a run as `plan` does, in the running event loop."""
    words = override_words(overrides, settings, policy)
    value = None if isinstance(policy, str) else policy
    with collab_errors():
        return await plan_run(composed(words, config_dirs, value, trust=trust))


async def plan_run(built: Built) -> RunPlan:
    """Plan the run of a built config."""
    async with opened(built, sends=False) as (setup, _):
        keys: set[str] = set()
        solos = {seat: await _solos(setup, seat, keys) for seat in setup.scenario.solos()}
        unshared = _unshared(built)
        if keys:
            most = setup.scenario.most(len(setup.questions), setup.policy)
            cases = [Case(q.id, q, setup.policy) for q in setup.questions[:SHOWN]]
            return RunPlan(
                solos=solos,
                episodes=None,
                most_episodes=most,
                most_tokens=(len(keys) + most) * setup.budget,
                budget=setup.budget,
                dearest=_dearest(setup),
                prompts=await _prompts(setup, cases),
                owed=frozenset(keys),
                unshared=unshared,
            )
        bank = empty_bank(setup)
        await fill(bank, setup, SilentStages(), {})
        return replace(await _episodes(setup, bank), solos=solos, unshared=unshared)


def _unshared(built: Built) -> dict[str, str]:
    """Map each seat whose model may be other weights tomorrow to the model's id."""
    models = built.config.models
    return {seat: model.id for seat, model in models.items() if not is_known(model)}


async def _solos(setup: Setup, seat: str, owed: set[str]) -> DrawCounts | str:
    """Count the solo draws of a seat, and add a key for each that is to be sent."""
    count = setup.scenario.solos()[seat]
    if seat in setup.recorded:
        return setup.recorded[seat].describe(seat, setup.questions, count)
    model = setup.team[seat]
    assert isinstance(model, Model)
    own = (model.identity, model.sampling, model.run, model.replicate, setup.budget)
    stored = missing = 0
    for question in setup.questions:
        for draw in range(count):
            try:
                await model.solo(question, range(draw, draw + 1), setup.budget)
                stored += 1
            except NotStored:
                missing += 1
                owed.add(repr((*own, question.messages, draw)))
    return DrawCounts(stored, missing)


async def _episodes(setup: Setup, bank: Bank) -> RunPlan:
    """Play every case as far as the store goes, and count."""
    plan = await Plan.of(setup.scenario.cases(bank, setup.policy))
    owed: list[str] = []
    lengths: list[int] = []
    costs: list[float] = []

    async def count(case: Case) -> None:
        try:
            episode = await setup.play(case)
        except NotStored:
            owed.append(case.id)
        else:
            lengths.append(sum(unit.tokens for unit in episode.trajectory.generated))
            costs.append(Cost.of(c for by in episode.costs.values() for c in by.values()).money)

    await each(plan.cases, count, setup.concurrency)
    solos = [s.tokens for of in bank.solos.values() for each_ in of.values() for s in each_]
    known = lengths or solos
    return RunPlan(
        solos={},
        episodes=DrawCounts(len(lengths), len(owed)),
        most_episodes=len(plan.cases),
        most_tokens=len(owed) * setup.budget,
        budget=setup.budget,
        tokens_each=mean(known) if known else None,
        money_each=mean(costs) if any(costs) else None,
        dearest=_dearest(setup),
        notes=plan.notes,
        prompts=await _prompts(setup, plan.cases[:: max(len(plan.cases) // SHOWN, 1)][:SHOWN]),
    )


def _dearest(setup: Setup) -> tuple[str, Prices] | None:
    """Return the seat with the highest price of written tokens; None if no model has a price."""
    prices = {seat: model.rates.prices for seat, model in models_of(setup.team).items()}
    seat = max(prices, key=lambda seat: prices[seat].completion, default="")
    return (seat, prices[seat]) if prices and prices[seat] != Prices() else None


async def _prompts(setup: Setup, cases: Sequence[Case]) -> dict[str, str]:
    """Return the first prompt that each case sends, as the model reads it."""
    prompts: dict[str, str] = {}
    for case in cases:
        first = _FirstPrompt()
        seats = setup.team.seats.items()
        team = Team({s: _PromptReader(m, first) if isinstance(m, Model) else m for s, m in seats})
        with suppress(_PromptFound):
            await setup.play(case, team=team)
        prompts[case.id] = first.text
    return prompts


class _PromptFound(Exception):
    """The first prompt is known."""


@dataclass
class _FirstPrompt:
    """The first prompt that a case sends."""

    text: str = ""


@dataclass(frozen=True)
class _PromptReader:
    """A reasoner that keeps its prompt instead of writing."""

    inner: Model
    first: _FirstPrompt

    @property
    def can(self) -> frozenset[str]:
        """The abilities of the model."""
        return self.inner.can

    @property
    def think_close(self) -> str:
        """The close tag of the model."""
        return self.inner.think_close

    @property
    def rates(self) -> Rates:
        """The prices of the model."""
        return self.inner.rates

    def count(self, text: str) -> int | None:
        """Count tokens as the model does."""
        return self.inner.count(text)

    async def write(self, turn: Turn) -> WrittenTurn:
        """Keep the prompt.

        Raises:
            _PromptFound: Always.
        """
        return self._keep(self.inner.render_prompt(turn))

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Keep the prompt.

        Raises:
            _PromptFound: Always.
        """
        return self._keep(self.inner.render_prompt(turn, inquiry))

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Keep the prompt.

        Raises:
            _PromptFound: Always.
        """
        return self._keep(self.inner.render_prompt(turn) + text)

    def _keep(self, prompt: str) -> NoReturn:
        self.first.text = prompt
        raise _PromptFound
