"""The scenario protocol, and the values that every scenario uses.

A scenario is a value with pure methods. It takes a bank of graded solo trajectories and makes
cases. The engine plays the cases, the graders judge the answers, and the design of a case says
where its score belongs in a table.
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
    """The graded solo trajectories of each seat, by question and in the order of their draws."""

    questions: Sequence[Question]
    solos: dict[str, dict[str, tuple[Recording, ...]]] = field(default_factory=dict)
    waits: Mapping[str, Event] = field(default_factory=dict)
    """Set once the draws of a question are stored or have failed. A full bank has no events."""
    rules: Grader | None = None
    """Compares answers; None: answers are equal if they are the same text or number."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The seats that hold a model, and what each can do (`write`, `answer`, `advise`, …)."""
    counts: Mapping[str, Callable[[str], Awaitable[tuple[int, ...] | None]]] = field(
        default_factory=dict
    )
    """Return the token ends of a text for a seat; None where the seat has no tokenizer."""

    async def ready(self) -> AsyncIterator[Question]:
        """Yield the questions, ranked by content, each as soon as all its draws are stored.

        A question is left out if one of its draws failed.
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
        """Return a recording with its length in the tokens of the seat that reads it.

        A recording that has its author's tokens, or that the seat cannot count, is returned
        unchanged.
        """
        if recording.ends is not None or seat not in self.counts:
            return recording
        ends = await self.counts[seat](recording.text)
        return recording if ends is None else replace(recording, ends=ends, tokens=len(ends))

    async def agrees(self, question: Question, answer: str | None) -> bool:
        """Return whether an answer agrees with the gold answer of a question."""
        return await agrees(self.rules, question, answer)

    async def leak(self, question: Question, text: str) -> Leak:
        """Return how far a text gives the gold answer of a question away."""
        return Leak(mentions(text, question.answer), await states(self.rules, question, text))


class Note(str):
    """A remark of a scenario on its cases: how many there are and what was left out."""


@dataclass(frozen=True)
class Plan:
    """The cases of a run, and notes on what was left out."""

    cases: Sequence[Case]
    notes: Sequence[str] = ()

    @classmethod
    async def of(cls, stream: AsyncIterable[Case | Note]) -> Plan:
        """Collect the cases and notes that a scenario yields."""
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
    """The work of one seat in an episode."""

    tokens: int = 0
    """Tokens of its units and answer on the final trajectory (counted by its own tokenizer)."""
    units: int = 0
    """Thinking units that it sampled, including those of branches."""
    kept: int = 0
    """Sampled units that are on the final trajectory."""
    cost: Cost = field(default=Cost(), compare=False)
    """Cost of all its draws when they were sampled, including side questions. Not compared: time
    and cache hits depend on the server."""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one episode."""

    case: str
    question: str
    verdict: Verdict
    design: Design = Design()  # noqa: RUF009 - a frozen value
    """The design of the case."""
    labels: Mapping[str, Label] = field(default_factory=dict)
    """Labels of the case that are not factors of its design."""
    strict: bool = False
    """Correct by the last boxed answer only."""
    lenient: bool = False
    """Correct by any part of the reply that can be read as an answer."""
    extracted: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    """Other results of the grader."""
    said_rival: bool | None = None
    """Whether the episode gave the answer that the steer leads to."""
    tokens: int = 0
    """Tokens that the writers sampled (counted by their own tokenizers)."""
    seams: Seams | None = None
    """Sums over all prompts of its writers."""
    parts: Mapping[str, SeatWork] = field(default_factory=dict)
    """The work of each seat."""

    @property
    def correct(self) -> bool:
        """Return whether the verdict is `correct`."""
        return self.verdict == "correct"

    @property
    def factors(self) -> dict[str, Label]:
        """Return the labels and the factors of the design by name: all that tables may group by."""
        return {**self.labels, **self.design.factors}

    def factor(self, name: str) -> Label:
        """Return a factor of the design or a label by its name; None if there is no such name."""
        return self.design.factor(name, self.labels)


@runtime_checkable
class Scenario(Protocol):
    """A class that makes cases from a bank.

    Examples:
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
    """The factor or label whose values are the rows of the scenario's table."""

    def solos(self) -> Mapping[str, int]:
        """Return the solo draws per question for each seat that needs a bank."""
        ...

    def most(self, questions: int, policy: Policy) -> int:
        """Return the largest number of cases for a number of questions and a policy."""
        ...

    def factors(self) -> Mapping[str, object]:
        """Return the policy settings that a case changes, with example values.

        A run checks that the policy has these settings.
        """
        ...

    def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Yield the cases, each with its policy value, and then the notes.

        Yield a case as soon as everything ranked before it is decided (`Bank.ready`). The set of
        cases and their order must not depend on which draws finish first.
        """
        ...


def with_factors(policy: Policy, **factors: object) -> Policy:
    """Return the policy with some settings changed and validated.

    Raises:
        ConfigError: The policy lacks a setting, or rejects a value.
    """
    if not isinstance(policy, BaseModel):
        raise ConfigError(
            f"policy {type(policy).__name__} is not a pydantic model, so a scenario cannot "
            "change its settings; derive it from Settings"
        )
    unknown = factors.keys() - type(policy).model_fields.keys()
    if unknown:
        name, has = type(policy).__name__, ", ".join(type(policy).model_fields)
        raise ConfigError(
            f"this scenario sets {', '.join(sorted(unknown))}, which policy {name} lacks "
            f"(settings: {has}); choose another policy"
        )
    settings = {name: getattr(policy, name) for name in type(policy).model_fields}
    try:
        changed = type(policy).model_validate({**settings, **factors})
    except ValidationError as error:
        raise ConfigError(str(error)) from None
    assert isinstance(changed, Policy)
    return changed


def rank(*content: object) -> bytes:
    """Return a sort key that depends only on content, so that every run selects the same subset."""
    return blake2b(repr(content).encode(), digest_size=8).digest()


def ranked(questions: Iterable[Question]) -> list[Question]:
    """Sort questions by content, so that the first n are the same in every run."""
    return sorted(questions, key=lambda question: rank(question.id))


def parts_of(episode: Episode) -> dict[str, SeatWork]:
    """Return the work of each seat in an episode."""
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
    """Return the verdict that an episode's end implies; None if its answer is to be graded."""
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
