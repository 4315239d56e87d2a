"""Grade answers: this package alone decides what is right or wrong.

A grader reads the text after the close of the thinking. A question names the grader that it needs,
and `Graders` passes it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from collab.core.trajectory import Domain, Json, Question
from collab.errors import GradingError


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one answer."""

    verdict: Literal["correct", "partial", "wrong", "no answer", "not judged", "grader timeout"]
    """Follows `lenient`.

    `partial`: a refusal that helps in part. `not judged`: no rule can decide. `grader timeout`: the
    judgement was stopped.
    """
    lenient: bool | None
    """Whether the answer is right, in whatever form it is given; None without a judgement.
    """
    strict: bool
    """Whether the answer is right in the requested form (in maths: the last box)."""
    extracted: str | None
    """The answer that was read."""
    by: str = ""
    """The rule that decided: `math-verify`, a name, `tests` or `judge`; empty if none did."""
    details: Mapping[str, Json] = field(default_factory=dict)
    """Further results, such as those of each suite of tests."""


class Grader(Protocol):
    """Judges the answers to one kind of question."""

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking; the question has a known answer.

        Raises:
            GradingError: No answer to the question can be judged.
        """
        ...


@dataclass(frozen=True)
class Graders:
    """Passes each question to the grader that it needs."""

    by_domain: Mapping[Domain, Grader]

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking.

        Raises:
            GradingError: The question cannot be judged, or there is no grader for its kind.
        """
        grader = self.by_domain.get(question.grader)
        if grader is None:
            has = ", ".join(sorted(self.by_domain))
            raise GradingError(f"there is no grader {question.grader!r} here (graders: {has})")
        return await grader.grade(question, text)
