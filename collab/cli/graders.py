"""From a config and its questions to the graders that they need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from collab.config import GraderConfig
from collab.grading import Grader, Graders
from collab.grading.choice import ChoiceGrader
from collab.grading.code import CodeGrader
from collab.grading.maths import MathsGrader
from collab.trajectory import Domain, Question


@asynccontextmanager
async def graders(
    config: GraderConfig, questions: Sequence[Question], runs: Path
) -> AsyncIterator[Graders]:
    """Open the graders; where one cannot work here, it says so before anything is sampled.

    Args:
        config: How answers are judged.
        questions: Whose answers.
        runs: Where verdicts are kept for all runs.

    Raises:
        SandboxError: Some answers are code, and programs cannot be run here, or not safely.
    """
    async with AsyncExitStack() as stack:
        maths = await stack.enter_async_context(
            MathsGrader(config.maths, runs / "verdicts.sqlite")
        )  # starts when needed
        by_domain: dict[Domain, Grader] = {"maths": maths, "choice": ChoiceGrader()}
        if any(question.grader == "code" for question in questions):
            by_domain["code"] = await stack.enter_async_context(CodeGrader(config.code))
        yield Graders(by_domain)
