"""Read a solo run as a benchmark: how often its model solved each question."""

from __future__ import annotations

from collections import Counter

from collab.analysis.estimates import arm_of
from collab.errors import ConfigError
from collab.questions.cohort import SolveCounts
from collab.report.runs import RunSummary


def solve_counts(run: RunSummary) -> SolveCounts:
    """Count how often a solo run's model solved each question.

    Raises:
        ConfigError: The run is no solo run, or is not finished.
    """
    where = str(run.folder.path)
    scores = arm_of(run.scores, "solo")
    if not scores:
        raise ConfigError(f"{where!r} holds no solo draws; run scenario=solo for each model")
    if run.state != "finished":
        raise ConfigError(f"{where!r} is not finished ({run.state}): run it to its end first")
    drawn = Counter(score.question for score in scores)
    correct = Counter(score.question for score in scores if score.correct)
    seat = run.settings.get("scenario.main")
    return SolveCounts(
        model=str(run.settings.get(f"team.{seat}.id")),
        samples=max(drawn.values()),
        solved={question: correct[question] for question in drawn},
    )
