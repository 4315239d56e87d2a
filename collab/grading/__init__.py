"""Judging answers: right or wrong is decided here, and nowhere else.

A grader reads the text behind the close of the thinking. Which one a question needs is the
question's own matter; `Graders` hands it to that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from collab.core.trajectory import Domain, Json, Question
from collab.errors import GradingError


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a grader says of one answer."""

    verdict: Literal["correct", "partial", "wrong", "no answer", "not judged", "grader timeout"]
    """Follows `lenient`.

    `partial` is help without what was asked for, of a refusal. `not judged` is an answer that no
    rule can decide, and `grader timeout` a judgement that was stopped.
    """
    lenient: bool | None
    """Whether what reads as the answer, wherever it stands, is right.

    None where there was nothing to judge, or no time.
    """
    strict: bool
    """Whether the answer is right in the form that was asked for (in maths: the last box)."""
    extracted: str | None
    """What was read as the answer."""
    by: str = ""
    """What decided: `math-verify`, a rule's name, `tests` or `judge`; empty where nothing did."""
    details: Mapping[str, Json] = field(default_factory=dict)
    """What else the grader has to say, such as each suite of tests by its name."""


class Grader(Protocol):
    """Whoever can judge the answers to one kind of question."""

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking; the question has a known answer.

        Raises:
            GradingError: It cannot be judged at all, whatever the text.
        """
        ...


@dataclass(frozen=True)
class Graders:
    """Hands each question to the grader that it needs."""

    by_domain: Mapping[Domain, Grader]

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking.

        Raises:
            GradingError: The question cannot be judged, or nobody here judges its kind.
        """
        grader = self.by_domain.get(question.grader)
        if grader is None:
            has = ", ".join(sorted(self.by_domain))
            raise GradingError(f"nobody here judges {question.grader!r} (graders: {has})")
        return await grader.grade(question, text)
