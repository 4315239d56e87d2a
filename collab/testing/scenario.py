"""Check that a scenario keeps its contract."""

from __future__ import annotations

import asyncio
import random
from asyncio import Event
from collections.abc import Sequence

from pydantic import BaseModel

from collab.core.blocking import run_apart
from collab.core.boundary import Answer
from collab.core.policy import Policy, seats_of
from collab.core.trajectory import Message, Question, Recording
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.errors import CollabError
from collab.scenarios.base import Bank, Scenario, ranked
from collab.testing.speaker import ABILITIES, LINES, Speaker

COUNT = 12
"""The number of made-up questions."""
PLAYED = 6
"""The number of cases that are played, in addition to as many with different policies."""
BUDGET = 1_000
"""Tokens of an episode: more than the recordings have."""


def check_scenario(
    scenario: Scenario, policy: Policy, *, questions: Sequence[Question] = ()
) -> tuple[Case, ...]:
    """Check the cases that a scenario makes from a made-up bank, and play some of them.

    A scenario keeps its contract under these conditions:

    - It is frozen.
    - It makes the same cases again, also if the questions have another order and their draws
      arrive one by one.
    - Each case has an id of its own, and there are at most as many cases as `most` says.
    - Each case has the label of the table's rows, and its question and recordings are in the bank.
    - Each case can be played to its end with its policy.

    Args:
        scenario: The scenario to check.
        policy: The policy with which its cases are played.
        questions: Questions for its cases, if the made-up ones do not fit.

    Returns:
        The cases.

    Raises:
        AssertionError: The scenario broke the contract; the message names the broken rule.
    """
    if not isinstance(scenario, Scenario):
        raise AssertionError(f"{scenario!r} is not a scenario: it lacks a method, or `by`")
    if isinstance(scenario, BaseModel) and not scenario.model_config.get("frozen"):
        raise AssertionError(f"{type(scenario).__name__} is not frozen: derive it from Settings")
    asked = list(questions) or _questions()
    before = repr(scenario)
    cases = run_apart(_cases(scenario, policy, asked, late=False))
    again = run_apart(_cases(scenario, policy, asked, late=False))
    _check_same(cases, again, "the second time")
    reordered = run_apart(_cases(scenario, policy, asked[::-1], late=True))
    _check_same(cases, reordered, "with the questions in another order")
    _check_each(scenario, policy, cases, asked)
    run_apart(_play(cases))
    if repr(scenario) != before:
        raise AssertionError(f"making cases changed the scenario from {before} to {scenario!r}")
    return cases


async def _cases(
    scenario: Scenario, policy: Policy, questions: Sequence[Question], *, late: bool
) -> tuple[Case, ...]:
    """Return a scenario's cases; `late`: the draws arrive one by one, in the opposite order."""
    solos = {seat: _solos(seat, count, questions) for seat, count in scenario.solos().items()}
    waits = {question.id: Event() for question in questions} if late else {}
    writers = dict.fromkeys([*seats_of(policy), *solos], ABILITIES)
    bank = Bank(questions, solos, waits, models=writers)

    async def fill() -> None:
        for question in reversed(ranked(questions)):
            await asyncio.sleep(0)
            if late:
                waits[question.id].set()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fill())
            made = [case async for case in scenario.cases(bank, policy)]
    except (
        ExceptionGroup
    ) as errors:  # Python 3.11.2 wraps errors that are raised in an `except*` again
        refused, others = errors.split(CollabError)
        if refused is None or others is not None:
            raise
        raise AssertionError(f"it cannot make cases: {refused.exceptions[0]}") from errors
    return tuple(case for case in made if isinstance(case, Case))


def _check_same(cases: Sequence[Case], again: Sequence[Case], when: str) -> None:
    if [case.id for case in cases] != [case.id for case in again]:
        raise AssertionError(f"{when} it makes other cases, or in another order")
    for case, other in zip(cases, again, strict=True):
        if case != other:
            raise AssertionError(f"{when} it makes another case with id {case.id!r}: {other!r}")


def _check_each(
    scenario: Scenario, policy: Policy, cases: Sequence[Case], questions: Sequence[Question]
) -> None:
    if not cases:
        raise AssertionError(
            f"it makes no case from {len(questions)} questions; give check_scenario others"
        )
    most = scenario.most(len(questions), policy)
    known = {question.id: question for question in questions}
    if len(cases) > most:
        raise AssertionError(f"it makes {len(cases)} cases, but `most` says at most {most}")
    if len({case.id for case in cases}) < len(cases):
        raise AssertionError("two of its cases have the same id")
    for case in cases:
        if case.question != known.get(case.question.id):
            raise AssertionError(f"case {case.id!r} has a question that is not in the bank")
        if scenario.by not in case.factors:
            raise AssertionError(
                f"case {case.id!r} lacks the label {scenario.by!r} of the table's rows "
                f"(it has: {', '.join(case.factors)})"
            )
        if lost := {recording.question for recording in case.opening.values()} - known.keys():
            raise AssertionError(
                f"case {case.id!r} plays recordings on {lost}, which are not in the bank"
            )


async def _play(cases: Sequence[Case]) -> None:
    first_of = {repr(case.policy): case for case in reversed(cases)}
    for case in (*cases[:PLAYED], *[*reversed(first_of.values())][:PLAYED]):
        seats = {*seats_of(case.policy), *case.opening}
        team = Team({seat: Speaker() for seat in sorted(seats)})
        try:
            await play_case(case, team, until=Answer(), budget=BUDGET)
        except CollabError as error:
            raise AssertionError(f"case {case.id!r} cannot be played: {error}") from error


def _questions() -> list[Question]:
    levels = ("easy", "hard")
    return [
        Question(
            f"question-{n}",
            (Message("user", f"What is {n} + {n + 1}{', and nothing else' * (n % 2)}?"),),
            str(2 * n + 1),
            labels={"level": levels[n % 2]},
        )
        for n in range(COUNT)
    ]


def _solos(
    seat: str, count: int, questions: Sequence[Question]
) -> dict[str, tuple[Recording, ...]]:
    """Make up solo draws: some questions are always solved, some sometimes, and some never."""
    return {
        question.id: tuple(_solo(seat, question, draw) for draw in range(count))
        for question in questions
    }


def _solo(seat: str, question: Question, draw: int) -> Recording:
    chance = random.Random(f"{seat}/{question.id}").choice((0.0, 0.5, 1.0))
    rng = random.Random(f"{seat}/{question.id}/{draw}")
    correct = rng.random() < chance
    answer = question.answer if correct and question.answer else f"{rng.randint(1000, 9999)}"
    lines = [f"{rng.choice(LINES)} Step {n}." for n in range(rng.randint(4, 16))]
    text = "\n\n".join(lines)
    return Recording(
        question=question.id,
        text=text,
        tokens=len(text.split()),
        model=seat,
        generation=f"{seat}/{question.id}/{draw}",
        draw=draw,
        answer=f"\\boxed{{{answer}}}",
        correct=correct,
        extracted=answer,
    )
