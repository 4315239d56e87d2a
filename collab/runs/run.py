"""Play a run: the bank, the cases, the episodes and their scores.

Every sample is in the store and every finished episode in the run's folder, so resuming is running
again: whatever is stored costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from collab.core.boundary import Boundary
from collab.core.design import Design, Label
from collab.core.policy import Policy
from collab.core.trajectory import Question, Recording, Trajectory
from collab.episode.engine import Case, Episode, Watch, play_case
from collab.episode.team import Team
from collab.errors import (
    CapReached,
    CollabError,
    ConfigError,
    Denied,
    GradingError,
    LaunchError,
    RunError,
    StoreError,
    Unreachable,
)
from collab.grading import Grader
from collab.reasoners.model import Model, models_of
from collab.runs.run_folder import RunFolder
from collab.runs.traces import Traces, in_tokens
from collab.scenarios.base import (
    Bank,
    Note,
    Scenario,
    Score,
    Verdict,
    finish_verdict,
    parts_of,
    ranked,
)

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Played = tuple[Episode, Score]
FATAL = (
    *(Unreachable, Denied, LaunchError, StoreError, RunError, ConfigError),
    CapReached,
)
"""Errors that would end every other episode too."""
EPISODES = "episodes"
AHEAD = 4096
"""The most cases that wait between the scenario and the players."""


class Stages(Protocol):
    """A progress display; several stages run at the same time."""

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        """Add steps to a stage; with `more`, the total may still grow."""
        ...

    def step(self, stage: str, *, stored: bool = False) -> None:
        """Finish a step. A stored step, from an earlier start, does not count for the speed."""
        ...

    def grew(self, case: Case, trajectory: Trajectory) -> None:
        """Observe an episode in progress."""
        ...

    def ended(self, case: Case, played: Played | None) -> None:
        """Observe a finished episode; None: it failed."""
        ...


class SilentStages:
    """A progress display that shows nothing."""

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        """Ignore it."""

    def step(self, stage: str, *, stored: bool = False) -> None:
        """Ignore it."""

    def grew(self, case: Case, trajectory: Trajectory) -> None:
        """Ignore it."""

    def ended(self, case: Case, played: Played | None) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Setup:
    """Everything that a run needs, open and checked."""

    scenario: Scenario
    policy: Policy
    questions: Sequence[Question]
    team: Team
    grader: Grader
    until: Boundary
    budget: int
    replicate: int = 0
    concurrency: int = 64
    """Episodes in progress at the same time."""
    rules: Grader | None = None
    """Compares answers, if the grader is a model; None: the grader compares them."""
    recorded: Mapping[str, Traces] = field(default_factory=dict)
    """The seats that play recorded traces instead of their own solo draws."""
    notes: Sequence[str] = ()
    """Remarks on the questions."""

    async def play(
        self,
        case: Case,
        *,
        team: Team | None = None,
        budget: int | None = None,
        watch: Watch | None = None,
        whole: bool = False,
    ) -> Episode:
        """Play one case with the run's settings, by its team and budget or the given ones."""
        return await play_case(
            case,
            team or self.team,
            until=self.until,
            budget=budget or self.budget,
            replicate=self.replicate,
            watch=watch,
            whole=whole,
        )


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run."""

    scores: Sequence[Score]
    """In the order of the cases."""
    notes: Sequence[str] = ()
    """The scenario's notes on its cases."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """The error of each case, or question of a bank, that failed."""
    cases: int = 0
    """The number of cases."""


async def run(setup: Setup, folder: RunFolder, stages: Stages) -> RunResult:
    """Play the missing episodes of a run, and return all scores.

    Solo draws and episodes run at the same time: a case is played as soon as the draws that it
    needs are stored. A failed case is noted and the others continue. A dead server stops the run.

    Raises:
        CollabError: Nothing more can be played; finished episodes are kept.
    """
    failures: dict[str, str] = {}
    bank = empty_bank(setup)
    cases = _Cases(setup.scenario.cases(bank, setup.policy), folder.finished(), stages)

    async def play() -> None:
        async for case in cases.owed():
            played = None
            with noting(case.id, failures):
                played = episode, score = await _play_and_grade(setup, case, stages)
                folder.add(episode, case, score)
            stages.ended(case, played)
            stages.step(EPISODES)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fill(bank, setup, stages, failures))
            group.create_task(cases.look_ahead())
            for _ in range(setup.concurrency):
                group.create_task(play())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
    scores = folder.scores()
    in_order = [scores[case] for case in cases.ids if case in scores]
    return RunResult(in_order, [*cases.notes, *cases.cut_by_characters], failures, len(cases.ids))


@dataclass
class _Cases:
    """The queue of cases between the scenario and the players."""

    made: AsyncIterator[Case | Note]
    finished: Collection[str]
    stages: Stages
    ids: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    uncounted: set[str] = field(default_factory=set)
    """The seats with recordings whose tokens could not be counted."""
    _queue: asyncio.Queue[Case | None] = field(default_factory=lambda: asyncio.Queue(AHEAD))

    async def look_ahead(self) -> None:
        """Queue the cases ahead of the players, so that progress shows their number.

        Raises:
            ConfigError: Two cases have one id.
        """
        self.stages.expect(EPISODES, 0, more=True)
        async for one in self.made:
            if isinstance(one, Note):
                self.notes.append(one)
            else:
                await self._take_up(one)
        self.stages.expect(EPISODES, 0)
        await self._queue.put(None)

    async def _take_up(self, case: Case) -> None:
        if case.id in self.ids:
            raise ConfigError(f"the scenario made two cases of id {case.id!r}")
        self.ids[case.id] = None
        self.uncounted |= {seat for seat, one in case.opening.items() if one.ends is None}
        self.stages.expect(EPISODES, 1, more=True)
        if case.id in self.finished:
            self.stages.step(EPISODES, stored=True)
        else:
            await self._queue.put(case)

    @property
    def cut_by_characters(self) -> Iterator[str]:
        """Warn of shares that are not measured in tokens."""
        if self.uncounted:
            yield (
                f"shares of {' and '.join(sorted(self.uncounted))} are cut by characters, not by "
                "tokens: there is no tokenizer, and the server returns no tokens; set the "
                "model's checkpoint"
            )

    async def owed(self) -> AsyncIterator[Case]:
        """Yield cases to play; any number of players share them."""
        while (case := await self._queue.get()) is not None:
            yield case
        await self._queue.put(None)  # for the next player


@contextmanager
def noting(name: str, failures: dict[str, str]) -> Iterator[None]:
    """Note an error of one case or question, and continue."""
    try:
        yield
    except FATAL:
        raise
    except CollabError as error:
        log.warning("%s failed: %s", name, error)
        failures[name] = str(error)


def empty_bank(setup: Setup) -> Bank:
    """Return the bank that the scenario needs, without draws.

    Raises:
        ConfigError: Two questions have one id.
    """
    ids = Counter(question.id for question in setup.questions)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ConfigError(
            f"{len(twice)} question ids occur twice, such as {twice[0]!r}; give each question "
            "its own"
        )
    solos: dict[str, dict[str, tuple[Recording, ...]]] = {s: {} for s in setup.scenario.solos()}
    waits = {question.id: asyncio.Event() for question in setup.questions}
    models = models_of(setup.team)
    can = {seat: model.can for seat, model in models.items()}
    counts = {seat: model.ends for seat, model in models.items()}
    return Bank(setup.questions, solos, waits, setup.rules or setup.grader, can, counts)


async def fill(bank: Bank, setup: Setup, stages: Stages, failures: dict[str, str]) -> None:
    """Draw and grade the solo trajectories of a bank, in the order in which cases need them.

    If a draw of a question fails, the error goes to `failures` and the question is never ready.
    """
    wanted = setup.scenario.solos()
    for seat in wanted:
        stages.expect(_solos(seat), len(bank.questions))

    async def fill_question(question: Question) -> None:
        async with asyncio.TaskGroup() as group:
            for seat, count in wanted.items():
                group.create_task(draw(question, seat, count))
        bank.waits[question.id].set()

    async def draw(question: Question, seat: str, count: int) -> None:
        with noting(f"{question.id}/{seat}", failures):
            solos = await _solo(setup, seat, question, count)
            if solos:
                bank.solos[seat][question.id] = solos
        stages.step(_solos(seat))

    await each(ranked(bank.questions), fill_question, setup.concurrency)


def _solos(seat: str) -> str:
    return f"solo draws of {seat}"


async def _solo(setup: Setup, seat: str, question: Question, count: int) -> tuple[Recording, ...]:
    model = setup.team[seat]
    if seat in setup.recorded:
        recorded = await asyncio.to_thread(_recorded, setup, seat, question, count)
        return tuple([await graded(setup.grader, setup.team.closes, question, r) for r in recorded])
    if not isinstance(model, Model):
        raise ConfigError(
            f"seat {seat!r} needs solo draws, so it needs a model: set model@team.{seat}"
        )
    taken = await model.solo(question, range(count), setup.budget)
    closes = setup.team.closes
    return tuple([await graded(setup.grader, closes, question, solo) for solo, _ in taken])


def _recorded(setup: Setup, seat: str, question: Question, count: int) -> list[Recording]:
    """Return a seat's recorded traces on a question, in the tokens of the model that reads them."""
    model, team = setup.team[seat], setup.team
    recordings = setup.recorded[seat].recordings.get(question.id, ())[:count]
    if isinstance(model, Model) and model.tokenizer is not None:
        return [in_tokens(one, model.tokenizer) for one in recordings]
    return [replace(one, tokens=one.tokens or team.count(one.text, seat)) for one in recordings]


async def graded(
    grader: Grader, closes: Iterable[str], question: Question, solo: Recording
) -> Recording:
    """Grade a solo trajectory; if the gold answer is unknown, keep the recording's own verdict."""
    if question.answer is None or not solo.closed:
        return replace(solo, correct=bool(solo.correct) and solo.closed)
    answer = after_close(solo.answer, closes)
    verdict = await grader.grade(question, answer)
    return replace(solo, correct=verdict.verdict == "correct", extracted=verdict.extracted)


async def _play_and_grade(setup: Setup, case: Case, stages: Stages) -> Played:
    episode = await setup.play(case, watch=lambda now, _: stages.grew(case, now), whole=True)
    return episode, await grade(setup.grader, case, episode, setup.team.closes, rules=setup.rules)


def after_close(answer: str, closes: Iterable[str]) -> str:
    """Return the text after the last close tag, because a model may close its thinking twice."""
    for close in closes:
        answer = answer.rpartition(close)[2]
    return answer


class Scorable(Protocol):
    """What a score needs to know of a case, played now or earlier."""

    @property
    def question(self) -> Question:
        """The question."""
        ...

    @property
    def design(self) -> Design:
        """The arm and the other factors."""
        ...

    @property
    def labels(self) -> Mapping[str, Label]:
        """The other labels."""
        ...

    @property
    def rival(self) -> str | None:
        """The answer that the steer leads to."""
        ...


async def grade(
    grader: Grader,
    case: Scorable,
    episode: Episode,
    closes: Iterable[str] = ("</think>",),
    *,
    rules: Grader | None = None,
) -> Score:
    """Grade one finished episode by the text after the last close tag of its thinking.

    If the grader is a model, `rules` decides whether the answer is the steer's.
    """
    question, answer = case.question, after_close(episode.trajectory.answer, closes)
    score = Score(
        case=episode.case,
        question=question.id,
        verdict="no answer",
        design=case.design,
        labels=dict(case.labels),
        tokens=sum(unit.tokens for unit in episode.trajectory.generated),
        seams=episode.trajectory.seams,
        parts=parts_of(episode),
    )
    settled: Verdict | None = finish_verdict(episode)
    if settled is not None or (question.answer is None and question.checks is None):
        return replace(score, verdict=settled or "no answer")
    judged = await grader.grade(question, answer)
    return replace(
        score,
        verdict=judged.verdict,
        strict=judged.strict,
        lenient=bool(judged.lenient),
        extracted=judged.extracted,
        details=judged.details,
        said_rival=await _gave_rival(rules or grader, question, case.rival, answer),
    )


async def _gave_rival(
    grader: Grader, question: Question, rival: str | None, answer: str
) -> bool | None:
    if rival is None or question.grader == "code":
        return None
    try:
        return (await grader.grade(replace(question, answer=rival), answer)).verdict == "correct"
    except GradingError:  # the distractor's answer cannot be read, so no answer equals it
        return False


async def each(
    items: Iterable[Item], work: Callable[[Item], Awaitable[None]], concurrency: int
) -> None:
    """Do the work for every item, `concurrency` at a time; the first error stops all.

    Raises:
        Exception: The first error of the work.
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
    """Return the first error in a group, at any depth."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
