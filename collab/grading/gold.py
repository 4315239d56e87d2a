"""Check gold answers before draws are paid for: one that nothing equals makes all answers wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from string import ascii_uppercase

from collab.core.trajectory import Question
from collab.errors import GradingError
from collab.grading import Grader, Judgement
from collab.grading.checker.bundle import bundle
from collab.grading.refusal import WANTED
from collab.grading.verdicts import Verdicts

AT_ONCE = 64
"""Questions that are checked at the same time."""
STRANGE = "98765.4321"
"""An answer that no question has."""
DIGITS = re.compile(r"\d+")


class GoldChecker:
    """Checks the gold answers of questions; use it as an async context manager.

    Args:
        grader: Judges the answers, as in the run.
        verdicts: The file that keeps which reference programs passed; None: they run each time.
    """

    def __init__(self, grader: Grader, verdicts: Path | None = None) -> None:
        self._grader = grader
        self._kept = Verdicts(verdicts) if verdicts else None

    async def __aenter__(self) -> GoldChecker:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._kept is not None:
            await self._kept.close()

    async def faults(
        self, questions: Sequence[Question], step: Callable[[], None] = lambda: None
    ) -> dict[str, str]:
        """Map the id of each question without a usable gold answer to its fault.

        Args:
            questions: The questions.
            step: Called after each question.
        """
        free = asyncio.Semaphore(AT_ONCE)

        async def check(question: Question) -> str | None:
            async with free:
                fault = await self._fault(question)
                step()
                return fault

        found = await asyncio.gather(*map(check, questions))
        pairs = zip(questions, found, strict=True)
        return {question.id: fault for question, fault in pairs if fault is not None}

    async def _fault(self, question: Question) -> str | None:
        gold = question.answer
        if question.grader == "code" and question.checks is not None:
            return None if gold is None else await self._program_fault(question, gold)
        if gold is None:
            return "it has no gold answer (null)"
        if question.grader == "choice":
            letters = ascii_uppercase[: len(question.options)]
            return None if gold in letters else f"{gold!r} is no letter of its options"
        if question.grader == "refusal":
            return None if gold in WANTED else f"{gold!r} is not {' or '.join(WANTED)}"
        return await self._maths_fault(question, gold)

    async def _maths_fault(self, question: Question, gold: str) -> str | None:
        try:
            if not await self._is_correct(question, gold):
                return f"the gold answer {gold!r} does not equal itself when it is read"
            for other in changed(gold):
                if not await self._is_correct(question, other):
                    return None
        except GradingError as error:
            return str(error)
        return f"any answer equals the gold answer {gold!r}"

    async def _is_correct(self, question: Question, answer: str) -> bool:
        judgement = await self._grader.grade(question, rf"\boxed{{{answer}}}")
        return judgement.verdict == "correct"

    async def _program_fault(self, question: Question, program: str) -> str | None:
        key = blake2b(f"{bundle()}\0{question.checks}\0{program}".encode(), digest_size=16).digest()
        if self._kept is not None and await self._kept.find(key) is not None:
            return None
        try:
            judgement = await self._grader.grade(question, f"```python\n{program}\n```")
        except GradingError as error:
            return str(error)
        if judgement.verdict == "correct":
            if self._kept is not None:
                self._kept.keep(key, Judgement("correct", True, True, None, "reference"))
            return None
        suites = judgement.details.get("suites")
        return f"its reference program does not pass its own tests: {suites or judgement.verdict}"


def changed(gold: str) -> Iterator[str]:
    r"""Yield other answers than the gold one, the most similar first.

    Examples:
        >>> next(changed(r"\frac{1}{20}"))
        '\\frac{1}{30}'
    """
    for number in reversed([*DIGITS.finditer(gold)]):
        digit = (int(number[0][0]) + 1) % 10 or 1
        yield f"{gold[: number.start()]}{digit}{number[0][1:]}{gold[number.end() :]}"
    yield STRANGE
