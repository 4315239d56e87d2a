"""Check the gold answers of a run before its first draw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from collab.core.trajectory import Question
from collab.endpoints.launch import OnProgress
from collab.errors import ConfigError
from collab.grading import Grader
from collab.grading.gold import GoldChecker

SHOWN = 5
"""The most faults that an error names."""
PATIENCE = 2.0
"""The check shows its progress if it takes longer (seconds)."""


async def usable(
    questions: Sequence[Question], rules: Grader, verdicts: Path, unreadable: str, tell: OnProgress
) -> tuple[list[Question], list[str]]:
    """Return the questions whose gold answers can be used, and a note if others are skipped.

    Args:
        questions: The questions of a run.
        rules: Judges answers without a model.
        verdicts: The file that keeps which reference programs passed.
        unreadable: `stop`, or `skip` to leave out questions without a usable gold answer.
        tell: Receives the progress.

    Raises:
        ConfigError: Some cannot be used, and none may be skipped, or none is left.
    """
    began, done = time.monotonic(), 0

    def step() -> None:
        nonlocal done
        done += 1
        if time.monotonic() - began > PATIENCE:
            tell(f"checking gold answers ({done:,} of {len(questions):,})")

    async with GoldChecker(rules, verdicts) as checker:
        faults = await checker.faults(questions, step)
    tell("")
    left = [question for question in questions if question.id not in faults]
    if not faults:
        return left, []
    named = [
        f"{Path(question.place).name or question.id}: {faults[question.id]}"
        for question in questions
        if question.id in faults
    ]
    more = f"; and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
    listed = "; ".join(named[:SHOWN]) + more
    share = f"{len(named):,} of {len(questions):,}"
    if unreadable == "stop" or not left:
        raise ConfigError(
            f"{share} gold answers cannot be used ({listed}); correct them, or leave these "
            "questions out: questions.unreadable=skip"
        )
    return left, [f"{share} questions skipped: their gold answers cannot be used ({listed})"]
