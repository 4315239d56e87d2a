"""Check that a policy keeps its contract."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pydantic import BaseModel, TypeAdapter

from collab.core.blocking import run_apart
from collab.core.boundary import Sentence
from collab.core.decision import Close, Decision, Insert, Write
from collab.core.policy import Inquiry, Likelihood, Policy, SideAnswer, SideChannel, View, seats_of
from collab.core.trajectory import Event, Message, Question, Recording, Rewound, Trajectory
from collab.episode.engine import Case, Episode, play_case
from collab.episode.reasoner import Turn
from collab.episode.team import Team
from collab.errors import PolicyError
from collab.testing.speaker import LINES, Speaker

CLOSING = (0.0, 0.2, 1.0)
"""The chances, one per episode, that a speaker closes its thinking after a line."""
BUDGET = 100
"""Tokens of an episode."""
STEPS = 250
"""The largest number of decisions in an episode."""
_LOG = TypeAdapter(tuple[Event, ...])


def check_policy(
    policy: Policy, *, seats: Iterable[str] = (), recordings: Sequence[bool] = (False, True)
) -> tuple[Episode, ...]:
    """Play episodes of a policy with scripted reasoners, and check every decision.

    A policy keeps its contract under these conditions:

    - It is frozen, and it declares the seats that it uses.
    - It decides the same from the same view: its random numbers come from `view.rng`, and its
      memory is only the trajectory and the memo.
    - It decides the same from a log that was stored and loaded, so that an interrupted episode
      continues as it would have.
    - It also decides after a rewind.
    - Its episodes end.

    Args:
        policy: The policy to check.
        seats: Seats that it may use without a field annotated `Writer` or `Adviser`.
        recordings: Whether its seats start with recordings; one episode is played for each value.

    Returns:
        The episodes, for each value of `recordings` and each chance in `CLOSING`.

    Raises:
        AssertionError: The policy broke the contract; the message names the broken rule.
    """
    _check_frozen(policy)
    declared = {*seats_of(policy), *seats}
    before = repr(policy)
    tables = itertools.product(CLOSING, recordings)
    episodes = tuple(run_apart(_play(policy, declared, *table)) for table in tables)
    if repr(policy) != before:
        raise AssertionError(f"an episode changed the policy from {before} to {policy!r}")
    return episodes


def _check_frozen(policy: object) -> None:
    if not isinstance(policy, Policy):
        raise AssertionError(f"{policy!r} is not a policy: it needs `decide` and `needs`")
    if isinstance(policy, BaseModel) and not policy.model_config.get("frozen"):
        raise AssertionError(f"{type(policy).__name__} is not frozen: derive it from Settings")


async def _play(policy: Policy, declared: set[str], closes: float, recorded: bool) -> Episode:
    question = Question("q", (Message("user", "What is 3 + 4?"),), "7")
    text = " ".join(LINES)
    opening = {seat: Recording("q", text, len(text.split())) for seat in declared}
    case = Case(
        f"{closes:g}", question, _DecidesTwice(policy, declared), opening if recorded else {}
    )
    team = Team({seat: Speaker(closes=closes) for seat in sorted(declared)})
    try:
        return await play_case(case, team, until=Sentence(), budget=BUDGET)
    except PolicyError as error:
        raise AssertionError(str(error)) from error


@dataclass(frozen=True)
class _DecidesTwice:
    """A policy that lets another one decide twice, and compares the decisions."""

    policy: Policy
    declared: set[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        if view.step == STEPS:
            raise AssertionError(f"the episode has not ended after {STEPS} decisions")
        recorder = _Recorder(view.side_channel)
        first = await self.policy.decide(
            replace(view, side_channel=recorder, rng=deepcopy(view.rng))
        )
        again = await self.policy.decide(self._again(view, recorder))
        if first != again:
            raise AssertionError(
                f"it decided {first!r}, then {again!r} from the same view: it must keep no state "
                "between decisions, and take random numbers only from view.rng"
            )
        self._check_seat(first)
        await self._check_struck(view)
        return first

    def _again(self, view: View, recorder: _Recorder) -> View:
        """Return the view with a log that was stored and loaded."""
        trajectory = Trajectory.replay(_LOG.validate_json(_LOG.dump_json(view.log)))
        rng = deepcopy(view.rng)
        return replace(view, trajectory=trajectory, side_channel=recorder.replay(), rng=rng)

    def _check_seat(self, decision: Decision) -> None:
        named = isinstance(decision, Write | Insert | Close) and decision.seat
        if named and named not in self.declared:
            raise AssertionError(
                f"it decided {decision!r}, but declares only the seats {sorted(self.declared)}: "
                "annotate the field that names the seat with `Writer` or `Adviser`"
            )

    async def _check_struck(self, view: View) -> None:
        struck = view.trajectory.add(Rewound(len(view.units) // 2))
        rng = deepcopy(view.rng)
        decision = await self.policy.decide(
            replace(view, trajectory=struck, side_channel=_RandomAnswers(struck), rng=rng)
        )
        if not isinstance(decision, Decision):
            raise AssertionError(f"after a rewind it returned {decision!r}, which is no decision")


@dataclass
class _Recorder:
    """A side channel that forwards questions to another one, and records the replies."""

    channel: SideChannel
    replies: list[SideAnswer | Likelihood] = field(default_factory=list)

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        answer = await self.channel.ask(seat, inquiry)
        self.replies.append(answer)
        return answer

    async def score(self, seat: str, text: str) -> Likelihood:
        likelihood = await self.channel.score(seat, text)
        self.replies.append(likelihood)
        return likelihood

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        self.channel.prefetch(path)

    def replay(self) -> _Replay:
        return _Replay(iter(self.replies))


@dataclass
class _Replay:
    """A side channel that returns recorded replies in their order."""

    replies: Iterable[SideAnswer | Likelihood]

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        answer = next(iter(self.replies), None)
        if not isinstance(answer, SideAnswer):
            raise AssertionError(f"from the same view it asks {seat!r} another side question")
        return answer

    async def score(self, seat: str, text: str) -> Likelihood:
        likelihood = next(iter(self.replies), None)
        if not isinstance(likelihood, Likelihood):
            raise AssertionError(f"from the same view it lets {seat!r} score another text")
        return likelihood

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Ignore the prefetch, which was made by the first decision."""


@dataclass(frozen=True)
class _RandomAnswers:
    """A side channel with random answers, which are not recorded."""

    trajectory: Trajectory

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        return (await Speaker().advise(self._turn(seat), inquiry)).answer

    async def score(self, seat: str, text: str) -> Likelihood:
        return (await Speaker().score(self._turn(seat), text)).likelihood

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Ignore the prefetch."""

    def _turn(self, seat: str) -> Turn:
        question = Question("q", ())
        return Turn(seat, question, self.trajectory, "answer", Sentence(), 0, lambda _: 0)
