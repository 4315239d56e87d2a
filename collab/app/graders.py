"""Open the graders that a config and its questions need."""

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
from collab.reasoners.model import models_of


@asynccontextmanager
async def open_graders(
    config: GraderConfig, questions: Sequence[Question], runs: Path | None
) -> AsyncIterator[Graders]:
    """Open the graders, so that one that cannot work here fails before anything is sampled.

    Args:
        config: The settings of the graders.
        questions: The questions whose answers are graded.
        runs: The folder that keeps verdicts for all runs; None: they are not kept.

    Raises:
        SandboxError: Some answers are code, and programs cannot be run here, or not safely.
    """
    async with AsyncExitStack() as stack:
        maths = await stack.enter_async_context(
            MathsGrader(config.maths, runs and runs / "verdicts.sqlite")
        )  # its workers start when needed
        by_domain: dict[Domain, Grader] = {
            "maths": maths,
            "choice": ChoiceGrader(),
            "refusal": RefusalGrader(),
        }
        if any(question.grader == "code" for question in questions):
            by_domain["code"] = await stack.enter_async_context(CodeGrader(config.code))
        yield Graders(by_domain)


def with_judge(config: GraderConfig, rules: Graders, team: Team) -> Graders:
    """Replace the maths grader by the judge, if the config has one.

    Raises:
        ConfigError: The judge's seat has no model.
    """
    if config.judge is None:
        return rules
    models = models_of(team)
    seat = config.judge.seat
    if seat not in models:
        raise ConfigError(
            f"grader.judge.seat={seat!r} is not a seat with a model (seats with one: "
            f"{', '.join(sorted(models)) or 'none'}); set it to one, or add +model@team.{seat}=…"
        )
    judge = JudgeGrader(models[seat], rules.by_domain["maths"], config.judge)
    return Graders({**rules.by_domain, "maths": judge})
