"""Does a policy keep its contract?"""

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
"""The chance that a speaker closes its thinking behind a line, on each table that is played."""
BUDGET = 100
"""Tokens of an episode."""
STEPS = 250
"""Decisions that it may take."""
_LOG = TypeAdapter(tuple[Event, ...])


def check_policy(
    policy: Policy, *, seats: Iterable[str] = (), recordings: Sequence[bool] = (False, True)
) -> tuple[Episode, ...]:
    """Play a policy on scripted tables, and look at every decision.

    A policy keeps its contract if it decides the same from the same view (its random numbers come
    from `view.rng`, its memory is the trajectory and the memo), if it decides alike from a log that
    went through a file (so that an interrupted episode goes on as it would have), if it also
    decides where units were struck, if it is frozen, if it declares the seats that it uses, and if
    its episodes end.

    Args:
        policy: What is tried.
        seats: Seats that it may use though no field of it is annotated `Writer` or `Adviser`.
        recordings: Whether its seats are handed recordings: on some tables, or on all.

    Returns:
        The episodes, with and without recordings, by writers that close their thinking never, now
        and then, and at once.

    Raises:
        AssertionError: It broke the contract; the message says where.
    """
    _is_frozen(policy)
    declared = {*seats_of(policy), *seats}
    before = repr(policy)
    tables = itertools.product(CLOSING, recordings)
    episodes = tuple(run_apart(_play(policy, declared, *table)) for table in tables)
    if repr(policy) != before:
        raise AssertionError(f"an episode changed the policy from {before} to {policy!r}")
    return episodes


def _is_frozen(policy: object) -> None:
    if not isinstance(policy, Policy):
        raise AssertionError(f"{policy!r} is no policy: it needs `decide` and `needs`")
    if isinstance(policy, BaseModel) and not policy.model_config.get("frozen"):
        raise AssertionError(f"{type(policy).__name__} is not frozen: derive it from Settings")


async def _play(policy: Policy, declared: set[str], closes: float, recorded: bool) -> Episode:
    question = Question("q", (Message("user", "What is 3 + 4?"),), "7")
    text = " ".join(LINES)
    opening = {seat: Recording("q", text, len(text.split())) for seat in declared}
    case = Case(f"{closes:g}", question, _Witness(policy, declared), opening if recorded else {})
    team = Team({seat: Speaker(closes=closes) for seat in sorted(declared)})
    try:
        return await play_case(case, team, until=Sentence(), budget=BUDGET)
    except PolicyError as error:
        raise AssertionError(str(error)) from error


@dataclass(frozen=True)
class _Witness:
    """Has a policy decide twice, and compares."""

    policy: Policy
    declared: set[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        if view.step == STEPS:
            raise AssertionError(f"it took {STEPS} decisions without an end")
        heard = _Heard(view.side_channel)
        first = await self.policy.decide(replace(view, side_channel=heard, rng=deepcopy(view.rng)))
        again = await self.policy.decide(self._again(view, heard))
        if first != again:
            raise AssertionError(
                f"it decided {first!r}, and {again!r} from the same view: it must keep nothing "
                "between decisions, and draw from view.rng alone"
            )
        self._check_seat(first)
        await self._check_struck(view)
        return first

    def _again(self, view: View, heard: _Heard) -> View:
        """Return the view as it is after the log went through a file."""
        log = _LOG.validate_json(_LOG.dump_json(view.log))
        rng = deepcopy(view.rng)
        return replace(view, trajectory=Trajectory.replay(log), side_channel=heard.again(), rng=rng)

    def _check_seat(self, decision: Decision) -> None:
        named = isinstance(decision, Write | Insert | Close) and decision.seat
        if named and named not in self.declared:
            raise AssertionError(
                f"it decided {decision!r}, but declares the seats {sorted(self.declared)} alone: "
                "annotate the field that names the seat `Writer` or `Adviser`"
            )

    async def _check_struck(self, view: View) -> None:
        struck = view.trajectory.add(Rewound(len(view.units) // 2))
        rng = deepcopy(view.rng)
        decision = await self.policy.decide(
            replace(view, trajectory=struck, side_channel=_Chance(struck), rng=rng)
        )
        if not isinstance(decision, Decision):
            raise AssertionError(f"it decided {decision!r} where units were struck: no decision")


@dataclass
class _Heard:
    """Asks on, and keeps the replies."""

    aside: SideChannel
    replies: list[SideAnswer | Likelihood] = field(default_factory=list)

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        said = await self.aside.ask(seat, inquiry)
        self.replies.append(said)
        return said

    async def score(self, seat: str, text: str) -> Likelihood:
        likely = await self.aside.score(seat, text)
        self.replies.append(likely)
        return likely

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        self.aside.prefetch(path)

    def again(self) -> _Told:
        return _Told(iter(self.replies))


@dataclass
class _Told:
    """Gives replies once more, in their order."""

    replies: Iterable[SideAnswer | Likelihood]

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        said = next(iter(self.replies), None)
        if not isinstance(said, SideAnswer):
            raise AssertionError(f"from the same view it asks {seat!r} what it did not ask before")
        return said

    async def score(self, seat: str, text: str) -> Likelihood:
        likely = next(iter(self.replies), None)
        if not isinstance(likely, Likelihood):
            raise AssertionError(f"from the same view it has {seat!r} score what it did not before")
        return likely

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Begin nothing a second time."""


@dataclass(frozen=True)
class _Chance:
    """Answers by chance, and leaves no trace."""

    trajectory: Trajectory

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        return (await Speaker().advise(self._turn(seat), inquiry)).answer

    async def score(self, seat: str, text: str) -> Likelihood:
        return (await Speaker().score(self._turn(seat), text)).likelihood

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Begin nothing."""

    def _turn(self, seat: str) -> Turn:
        question = Question("q", ())
        return Turn(seat, question, self.trajectory, "answer", Sentence(), 0, lambda _: 0)
