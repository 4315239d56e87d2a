"""From a config and its questions to the graders that they need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from collab.config.config import GraderConfig
from collab.core.trajectory import Domain, Question
from collab.episode.team import Team
from collab.errors import ConfigError
from collab.grading import Grader, Graders
from collab.grading.choice import ChoiceGrader
from collab.grading.code import CodeGrader
from collab.grading.judge import JudgeGrader
from collab.grading.maths import MathsGrader
from collab.grading.refusal import RefusalGrader
from collab.reasoners.model import Model


@asynccontextmanager
async def graders(
    config: GraderConfig, questions: Sequence[Question], runs: Path | None
) -> AsyncIterator[Graders]:
    """Open the graders; where one cannot work here, it says so before anything is sampled.

    Args:
        config: How answers are judged.
        questions: Whose answers.
        runs: Where verdicts are kept for all runs; None: nowhere.

    Raises:
        SandboxError: Some answers are code, and programs cannot be run here, or not safely.
    """
    async with AsyncExitStack() as stack:
        maths = await stack.enter_async_context(
            MathsGrader(config.maths, runs and runs / "verdicts.sqlite")
        )  # starts when needed
        by_domain: dict[Domain, Grader] = {
            "maths": maths,
            "choice": ChoiceGrader(),
            "refusal": RefusalGrader(),
        }
        if any(question.grader == "code" for question in questions):
            by_domain["code"] = await stack.enter_async_context(CodeGrader(config.code))
        yield Graders(by_domain)


def judged(config: GraderConfig, rules: Graders, team: Team) -> Graders:
    """Put the judge, where there is one, in the place of the rules for maths.

    Raises:
        ConfigError: Its seat has no model.
    """
    if config.judge is None:
        return rules
    models = {seat: one for seat, one in team.seats.items() if isinstance(one, Model)}
    seat = config.judge.seat
    if seat not in models:
        raise ConfigError(
            f"grader.judge.seat={seat!r} is no seat with a model (such seats: "
            f"{', '.join(sorted(models)) or 'none'}); set it to one, or add +model@team.{seat}=…"
        )
    judge = JudgeGrader(models[seat], rules.by_domain["maths"], config.judge)
    return Graders({**rules.by_domain, "maths": judge})
