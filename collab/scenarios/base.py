"""A scenario: which questions, openings, policy and factors; what counts; how results are grouped.

A scenario is a value with pure methods. The bank of solo trajectories goes in, cases come out; the
engine plays them, the graders judge, and the labels of a case say where its score belongs in a
table.
"""

from __future__ import annotations

from asyncio import Event
from collections import Counter
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from collab.core.cost import Cost
from collab.core.design import Design, Label
from collab.core.policy import Policy
from collab.core.trajectory import Json, Question, Recording, Seams
from collab.episode.engine import Case, Episode
from collab.errors import ConfigError
from collab.grading import Grader
from collab.grading.leak import agrees, mentions, states

Verdict = Literal[
    "correct",
    "partial",
    "wrong",
    "no answer",
    "not judged",
    "thinking never closed",
    "context full",
    "refused",
    "grader timeout",
    "endpoint dropped the prefix",
]


@dataclass(frozen=True, slots=True)
class Leak:
    """How far a text gives a gold answer away."""

    holds: bool
    """It mentions the answer."""
    states: bool
    """It states the answer as a result."""


@dataclass(frozen=True)
class Bank:
    """The graded solo trajectories of each seat, by question, in the order of their draws."""

    questions: Sequence[Question]
    solos: dict[str, dict[str, tuple[Recording, ...]]] = field(default_factory=dict)
    waits: Mapping[str, Event] = field(default_factory=dict)
    """Set once a question's draws are there or have failed; a full bank has none to wait for."""
    rules: Grader | None = None
    """Compares answers; without it, those that differ as text and number differ."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The seats that hold a model, and what each can do (`write`, `answer`, `advise`, …)."""
    counts: Mapping[str, Callable[[str], Awaitable[tuple[int, ...] | None]]] = field(
        default_factory=dict
    )
    """How a seat says where its tokens end in a text; None where it cannot."""

    async def ready(self) -> AsyncIterator[Question]:
        """Yield the questions, ranked by content, each as soon as all its draws are there.

        A question whose draws failed is left out.
        """
        for question in ranked(self.questions):
            if question.id in self.waits:
                await self.waits[question.id].wait()
            if all(question.id in of for of in self.solos.values()):
                yield question

    def of(self, seat: str, question: Question) -> tuple[Recording, ...]:
        """Return a seat's solo trajectories on a question that is ready."""
        return self.solos[seat][question.id]

    def solved(self, seat: str, question: Question) -> int:
        """Count a seat's correct solo trajectories on a question that is ready."""
        return sum(bool(solo.correct) for solo in self.of(seat, question))

    async def measured(self, seat: str, recording: Recording) -> Recording:
        """Return a text that nobody drew with its length in the tokens of the seat that reads it.

        What has an author's tokens keeps these, and what cannot be counted stays as it is.
        """
        if recording.ends is not None or seat not in self.counts:
            return recording
        ends = await self.counts[seat](recording.text)
        return recording if ends is None else replace(recording, ends=ends, tokens=len(ends))

    async def agrees(self, question: Question, answer: str | None) -> bool:
        """Say whether an answer is the known one of a question."""
        return await agrees(self.rules, question, answer)

    async def leak(self, question: Question, text: str) -> Leak:
        """Return how far a text gives the gold answer of a question away."""
        return Leak(mentions(text, question.answer), await states(self.rules, question, text))


class Note(str):
    """What a scenario has to say of its cases: how many there are, and what was left out."""


@dataclass(frozen=True)
class Plan:
    """The cases of a run, and what was left out on the way, in words and numbers."""

    cases: Sequence[Case]
    notes: Sequence[str] = ()

    @classmethod
    async def of(cls, stream: AsyncIterable[Case | Note]) -> Plan:
        """Gather what a scenario makes of a bank."""
        cases: list[Case] = []
        notes: list[str] = []
        async for one in stream:
            if isinstance(one, Case):
                cases.append(one)
            else:
                notes.append(one)
        return cls(cases, notes)


@dataclass(frozen=True, slots=True)
class SeatWork:
    """What one seat did in an episode."""

    tokens: int = 0
    """Those of what stands in its name in the end, thinking and answer (its own tokens)."""
    units: int = 0
    """Stretches of thinking that it sampled, branches' included."""
    kept: int = 0
    """Those of them that stand in the end."""
    cost: Cost = field(default=Cost(), compare=False)
    """What all its draws cost when they were sampled, those for side questions among them. Two
    parts are alike whatever they cost: time and cache are the server's."""


@dataclass(frozen=True, slots=True)
class Score:
    """One episode, judged."""

    case: str
    question: str
    verdict: Verdict
    design: Design = Design()  # noqa: RUF009 - a frozen value
    """The design of the case."""
    labels: Mapping[str, Label] = field(default_factory=dict)
    """The labels of the case that are no factors of its design."""
    strict: bool = False
    """Correct by the last boxed answer alone."""
    lenient: bool = False
    """Correct by whatever in the reply reads as an answer."""
    extracted: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    """What else the grader had to say."""
    said_rival: bool | None = None
    """Whether the answer given is the one that the steer leads to."""
    tokens: int = 0
    """What the writers sampled for it (their own tokens)."""
    seams: Seams | None = None
    """All prompts that its writers read, added up."""
    parts: Mapping[str, SeatWork] = field(default_factory=dict)
    """What each seat did for it."""

    @property
    def correct(self) -> bool:
        """Say whether it counts as solved."""
        return self.verdict == "correct"

    @property
    def factors(self) -> dict[str, Label]:
        """Return all that tables may group by: the labels, and the factors of the design."""
        return {**self.labels, **self.design.factors}

    def factor(self, name: str) -> Label:
        """Return a factor of the design or a label by its name; None if there is neither."""
        return self.design.factor(name, self.labels)


@runtime_checkable
class Scenario(Protocol):
    """A class that makes cases from a bank.

    >>> from collections.abc import AsyncIterator, Mapping
    >>> from typing import ClassVar
    >>> from collab import Case, Policy, Settings
    >>> from collab.scenarios.base import Bank, Scenario
    >>> class Plain(Settings):
    ...     by: ClassVar[str] = "level"
    ...
    ...     def solos(self) -> Mapping[str, int]:
    ...         return {}
    ...
    ...     def most(self, questions: int, policy: Policy) -> int:
    ...         return questions
    ...
    ...     def factors(self) -> Mapping[str, object]:
    ...         return {}
    ...
    ...     async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case]:
    ...         async for question in bank.ready():
    ...             yield Case(f"{question.id}/plain", question, policy)
    >>> isinstance(Plain(), Scenario)
    True
    """

    by: ClassVar[str]
    """The factor or label that makes the rows of the scenario's table."""

    def solos(self) -> Mapping[str, int]:
        """Map each seat that needs a bank to its draws a question."""
        ...

    def most(self, questions: int, policy: Policy) -> int:
        """Return how many cases so many questions and a policy make at most."""
        ...

    def factors(self) -> Mapping[str, object]:
        """Return what one of its cases sets of the policy: a run checks that the policy has it."""
        ...

    def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Make the cases, each with a policy value, and end with notes.

        A case comes as soon as all that is ranked before it is decided (`Bank.ready`); which cases
        there are and their order never depend on what was finished first.
        """
        ...


def with_factors(policy: Policy, **factors: object) -> Policy:
    """Return the policy with some settings changed, validated again.

    Raises:
        ConfigError: The policy has no such setting, or not that value.
    """
    if not isinstance(policy, BaseModel):
        raise ConfigError(
            f"{type(policy).__name__} is no pydantic model: its settings cannot be factors"
        )
    unknown = factors.keys() - type(policy).model_fields.keys()
    if unknown:
        name, has = type(policy).__name__, ", ".join(type(policy).model_fields)
        raise ConfigError(
            f"this scenario sets {', '.join(sorted(unknown))}, which policy {name} lacks "
            f"(it has: {has}); choose another policy"
        )
    settings = {name: getattr(policy, name) for name in type(policy).model_fields}
    try:
        changed = type(policy).model_validate({**settings, **factors})
    except ValidationError as error:
        raise ConfigError(str(error)) from None
    assert isinstance(changed, Policy)
    return changed


def rank(*content: object) -> bytes:
    """Return a sort key that depends on content alone: the same subset in every run."""
    return blake2b(repr(content).encode(), digest_size=8).digest()


def ranked(questions: Iterable[Question]) -> list[Question]:
    """Order questions by content alone: the first n are the same in every run."""
    return sorted(questions, key=lambda question: rank(question.id))


def parts_of(episode: Episode) -> dict[str, SeatWork]:
    """Say what each seat did in an episode."""
    trajectory = episode.trajectory
    written = Counter(one.author for one in trajectory.generated if one.phase == "thinking")
    kept = Counter(one.author for one in trajectory.units if one.kind == "generated")
    tokens: Counter[str] = Counter()
    for unit in (*trajectory.units, *trajectory.reply):
        tokens[unit.author] += unit.tokens if unit.kind != "signal" else 0
    return {
        seat: SeatWork(
            tokens=tokens[seat],
            units=written[seat],
            kept=kept[seat],
            cost=Cost.of(episode.costs.get(seat, {}).values()),
        )
        for seat in dict.fromkeys((*episode.costs, *tokens))
    }


def finish_verdict(episode: Episode) -> Verdict | None:
    """Return the verdict that an episode's end settles, None where its answer is to be graded."""
    match episode.finish:
        case "never closed":
            return "thinking never closed"
        case "context full" | "refused":
            return episode.finish
        case "prompt changed":
            return "endpoint dropped the prefix"
        case "answer cut":
            return "no answer"
        case "stopped":
            return None if episode.trajectory.answer else "no answer"
        case "answered":
            return None
