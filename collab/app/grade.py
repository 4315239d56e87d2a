"""Grade answers without a run: the graders on their own, from Python."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from string import ascii_uppercase
from typing import get_args

from collab.app.background import run_in_background, run_sync
from collab.core.trajectory import Checks, Domain, Question
from collab.errors import GradingError
from collab.grading import Grader, Judgement
from collab.grading.choice import ChoiceGrader
from collab.grading.code import CodeGrader
from collab.grading.maths import MathsGrader, MathsSettings
from collab.grading.refusal import RefusalGrader


def grade(
    question: Question | None = None,
    answer: str = "",
    *,
    gold: str | None = None,
    domain: Domain = "maths",
    options: Sequence[str] = (),
    checks: Checks | None = None,
) -> Judgement:
    r"""Grade one answer.

    The first call starts the worker processes; later calls reuse them, and they end with Python.
    Works in a script, in a notebook and inside a running event loop.

    Args:
        question: The question with its gold answer; or leave it out and give `gold`.
        answer: The reply of the model, without its thinking.
        gold: The gold answer: a formula or number, the letter of an option, or `refuse` or
            `comply`. Code needs none.
        domain: The kind of answer, which chooses the grader: maths, choice, refusal or code.
        options: The options of a choice question, in the order of their letters.
        checks: The tests of a code question.

    Raises:
        GradingError: The gold answer is missing or cannot be read, or the grader cannot run here.

    Examples:
        >>> import collab
        >>> judgement = collab.grade(gold=r"\frac{1}{2}", answer=r"So it is \boxed{0.5}.")
        >>> judgement.verdict, judgement.extracted, judgement.strict
        ('correct', '0.5', True)
        >>> options = ["red", "blue"]
        >>> collab.grade(gold="B", answer="Answer: A", domain="choice", options=options).verdict
        'wrong'
    """
    return run_sync(_grade(question or _question(gold, domain, options, checks), answer))


async def agrade(
    question: Question | None = None,
    answer: str = "",
    *,
    gold: str | None = None,
    domain: Domain = "maths",
    options: Sequence[str] = (),
    checks: Checks | None = None,
) -> Judgement:
    """Grade one answer; like `grade`, for asynchronous code. Calls run side by side.

    Raises:
        GradingError: The gold answer is missing or cannot be read, or the grader cannot run here.
    """
    asked = question or _question(gold, domain, options, checks)
    return await run_in_background(_grade(asked, answer))


def _question(
    gold: str | None, domain: Domain, options: Sequence[str], checks: Checks | None
) -> Question:
    """Make a question of the parts that its grader needs."""
    if domain not in get_args(Domain):
        allowed = ", ".join(map(repr, get_args(Domain)))
        raise GradingError(f"domain {domain!r} has no grader; set it to one of {allowed}")
    if domain == "code" and checks is None:
        raise GradingError("a code answer needs tests: give checks=Checks(suites={'base': …})")
    if domain == "choice" and not options:
        raise GradingError("a choice answer needs its options: give options=['…', '…']")
    return Question("", (), gold, domain, tuple(options), checks)


def _check_gold(question: Question) -> None:
    """Refuse a gold answer that is missing or impossible."""
    gold = question.answer
    if question.grader == "code":
        return
    if gold is None:
        raise GradingError("the gold answer is missing: give gold='…'")
    letters = ascii_uppercase[: len(question.options)]
    if question.grader == "choice" and (len(gold) != 1 or gold not in letters):
        raise GradingError(f"the gold answer {gold!r} is not a letter of {letters!r}; give one")


async def _grade(question: Question, answer: str) -> Judgement:
    """Grade in the background loop, where the graders live."""
    _check_gold(question)
    return await (await _grader(question.grader)).grade(question, answer)


_graders: dict[Domain, asyncio.Task[Grader]] = {}
"""The open graders, shared by all calls of this process. Their workers end with the process."""


async def _grader(domain: Domain) -> Grader:
    """Return the grader of a domain; the first call opens it."""
    if domain not in _graders:
        _graders[domain] = asyncio.create_task(_opened(domain))
    try:
        return await asyncio.shield(_graders[domain])
    except GradingError:
        del _graders[domain]
        raise


async def _opened(domain: Domain) -> Grader:
    match domain:
        case "maths":
            workers = MathsSettings(workers=os.cpu_count() or 2)
            return await MathsGrader(workers).__aenter__()
        case "code":
            return await CodeGrader().__aenter__()
        case "choice":
            return ChoiceGrader()
        case "refusal":
            return RefusalGrader()


os.register_at_fork(after_in_child=_graders.clear)  # a child opens its own
