"""A run: the bank, the cases, the episodes and their scores, from nothing or from where it stopped.

Everything that was sampled is in the store and every finished episode in the run's folder, so going
on after a stop is doing it all again: what is there costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from collab.boundary import Boundary
from collab.engine import Case, Episode, Team, Watch, play_case
from collab.errors import (
    CollabError,
    ConfigError,
    Denied,
    GradingError,
    LaunchError,
    PolicyError,
    RunError,
    StoreError,
    Unreachable,
)
from collab.folder import RunFolder
from collab.grading import Grader
from collab.policy import Policy
from collab.reasoner import Model
from collab.scenario import Bank, Plan, Scenario, Score, Verdict, finish_verdict
from collab.trajectory import Question, Recording

log = logging.getLogger(__name__)
Item = TypeVar("Item")
FATAL = (Unreachable, Denied, LaunchError, StoreError, RunError, PolicyError, ConfigError)
"""Errors that no other episode would be spared."""


class Stage(Protocol):
    """Where progress is told."""

    def begin(self, name: str, total: int) -> None:
        """Start a stage of `total` steps."""
        ...

    def step(self, note: str = "") -> None:
        """Finish one step of it."""
        ...


@dataclass(frozen=True)
class Setup:
    """All that a run needs, open and checked."""

    scenario: Scenario
    policy: Policy
    questions: Sequence[Question]
    team: Team
    grader: Grader
    until: Boundary
    budget: int
    replicate: int = 0
    concurrency: int = 64
    """Episodes under way at once."""

    async def play(
        self, case: Case, *, team: Team | None = None, watch: Watch | None = None
    ) -> Episode:
        """Play one case as this run does, by its own team or another one."""
        return await play_case(
            case,
            team or self.team,
            until=self.until,
            budget=self.budget,
            replicate=self.replicate,
            watch=watch,
        )


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    plan: Plan
    scores: Sequence[Score]
    """In the order of the cases."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """The error of each case, or question of a bank, that could not be played."""


async def run(setup: Setup, folder: RunFolder, stage: Stage) -> Result:
    """Play whatever of a run is still owed, and return all its scores.

    A case that fails is noted and the others go on; a dead server stops the run.

    Raises:
        CollabError: Nothing more can be played; what is done is kept.
    """
    failures: dict[str, str] = {}
    bank = await fill_bank(setup, stage, failures)
    plan = setup.scenario.cases(bank, setup.policy)
    owed = _owed(plan, folder)
    stage.begin("episodes", len(plan.cases))
    for _ in range(len(plan.cases) - len(owed)):
        stage.step()

    async def one(case: Case) -> None:
        with noting(case.id, failures):
            episode, score = await _play_and_grade(setup, case)
            folder.add(episode, describe(case), score)
        stage.step()

    await each(owed, one, setup.concurrency)
    scores = folder.scores()
    return Result(plan, [scores[case.id] for case in plan.cases if case.id in scores], failures)


@contextmanager
def noting(name: str, failures: dict[str, str]) -> Iterator[None]:
    """Note an error that concerns one case or question alone, and go on."""
    try:
        yield
    except FATAL:
        raise
    except CollabError as error:
        log.warning("%s failed: %s", name, error)
        failures[name] = str(error)


async def fill_bank(setup: Setup, stage: Stage, failures: dict[str, str]) -> Bank:
    """Draw and grade the solo trajectories that the scenario needs.

    A question whose draws fail is noted in `failures` and left out of the bank.
    """
    solos: dict[str, dict[str, tuple[Recording, ...]]] = {}
    for seat, count in setup.scenario.solos().items():
        solos[seat] = {}
        stage.begin(f"solo draws of {seat}", len(setup.questions))

        async def one(question: Question, seat: str = seat, count: int = count) -> None:
            with noting(f"{question.id}/{seat}", failures):
                solos[seat][question.id] = await _solo(setup, seat, question, count)
            stage.step()

        await each(setup.questions, one, setup.concurrency)
    whole = [q for q in setup.questions if all(q.id in drawn for drawn in solos.values())]
    return Bank(whole, solos)


async def _solo(setup: Setup, seat: str, question: Question, count: int) -> tuple[Recording, ...]:
    model = setup.team[seat]
    if not isinstance(model, Model):
        raise ConfigError(
            f"seat {seat!r} needs solo draws, so it needs a model: set model@team.{seat}"
        )
    taken = await model.solo(question, range(count), setup.budget)
    return tuple([await _graded(setup, question, recording) for recording, _ in taken])


async def _graded(setup: Setup, question: Question, solo: Recording) -> Recording:
    if question.answer is None or not solo.closed:
        return replace(solo, correct=False)
    answer = after_close(solo.answer, setup.team.closes)
    verdict = await setup.grader.grade(question, answer)
    return replace(solo, correct=verdict.verdict == "correct", extracted=verdict.extracted)


async def _play_and_grade(setup: Setup, case: Case) -> tuple[Episode, Score]:
    episode = await setup.play(case)
    return episode, await grade(setup.grader, case, episode, setup.team.closes)


def after_close(answer: str, closes: Iterable[str]) -> str:
    """Return what stands behind the last close tag: a model may close its thinking twice."""
    for close in closes:
        answer = answer.rpartition(close)[2]
    return answer


async def grade(
    grader: Grader, case: Case, episode: Episode, closes: Iterable[str] = ("</think>",)
) -> Score:
    """Judge one finished episode by the text after the last of the tags that close thinking."""
    question, answer = case.question, after_close(episode.trajectory.answer, closes)
    score = Score(
        case=case.id,
        question=question.id,
        verdict="no answer",
        labels=dict(case.labels),
        tokens=sum(unit.tokens for unit in episode.trajectory.generated),
    )
    settled: Verdict | None = finish_verdict(episode)
    if settled is not None or question.answer is None:
        return replace(score, verdict=settled or "no answer")
    judged = await grader.grade(question, answer)
    return replace(
        score,
        verdict=judged.verdict,
        strict=judged.strict,
        lenient=bool(judged.lenient),
        extracted=judged.extracted,
        details=judged.details,
        said_rival=await _said(grader, question, case.rival, answer),
    )


async def _said(grader: Grader, question: Question, rival: str | None, answer: str) -> bool | None:
    if rival is None or question.grader == "code":
        return None
    try:
        return (await grader.grade(replace(question, answer=rival), answer)).verdict == "correct"
    except GradingError:  # what the distractor said is no readable answer, so nobody can say it
        return False


def describe(case: Case) -> dict[str, object]:
    """Return the part of a case that its episode's row keeps."""
    return {
        "question": case.question.id,
        "asked": [{"role": m.role, "content": m.content} for m in case.question.messages],
        "answer": case.question.answer,
        "policy": type(case.policy).__name__,
        "labels": dict(case.labels),
    }


def _owed(plan: Plan, folder: RunFolder) -> list[Case]:
    twice = len(plan.cases) - len({case.id for case in plan.cases})
    if twice:
        raise ConfigError(f"the scenario made {twice} cases whose id another case has")
    finished = folder.finished()
    return [case for case in plan.cases if case.id not in finished]


async def each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[None]], concurrency: int
) -> None:
    """Do the work for every item, `concurrency` at a time; the first error stops all.

    Raises:
        Exception: The first that a piece of work raised.
    """
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


def first_of(error: BaseException) -> BaseException:
    """Return the first error in a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
