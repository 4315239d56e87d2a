"""Regrade a run: give the stored answers new verdicts, and keep the old ones.

The set of cases depends on the first verdicts of the solo draws and does not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collab.core.design import Design, Label
from collab.core.trajectory import Question
from collab.errors import RunError
from collab.grading import Grader
from collab.runs.jsonl import Plain
from collab.runs.run import Stages, each, grade, noting
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

VERDICTS = "verdicts"
"""The stage in the progress display."""


@dataclass(frozen=True, slots=True)
class _Played:
    """A case that was played earlier, as far as grading needs it."""

    question: Question
    design: Design
    labels: Mapping[str, Label]
    rival: str | None


@dataclass(frozen=True)
class Regraded:
    """The old and the new verdict of each episode of a run."""

    before: Sequence[Score]
    after: Sequence[Score]
    """In the same order."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """The errors of episodes that could not be graded; they are in neither list."""

    @property
    def changed(self) -> Iterator[tuple[Score, Score]]:
        """Yield the episodes whose verdict changed."""
        pairs = zip(self.before, self.after, strict=True)
        return ((old, new) for old, new in pairs if old.verdict != new.verdict)

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        """Count the changes by old and new verdict."""
        return Counter((old.verdict, new.verdict) for old, new in self.changed)


async def regrade(
    folder: RunFolder,
    grader: Grader,
    rules: Grader,
    closes: Sequence[str],
    stages: Stages,
    concurrency: int = 64,
) -> Regraded:
    """Grade all finished episodes of a run again.

    Args:
        folder: The run.
        grader: Grades the answers.
        rules: Decides whether an answer is the steer's, if the grader is a model.
        closes: The tags that close the thinking of the run's models.
        stages: The progress display.
        concurrency: Episodes graded at the same time.

    Raises:
        RunError: The run's files are damaged.
        CollabError: A judge cannot be reached.
    """
    finished, questions, old = folder.finished(), folder.questions(), folder.scores()
    new: dict[str, Score] = {}
    failures: dict[str, str] = {}
    stages.expect(VERDICTS, len(finished))

    async def regrade_case(case: str) -> None:
        episode, row = folder.at(finished[case])
        played = _Played(_asked(questions, row), *Design.split(row["labels"]), row["rival"])
        with noting(case, failures):
            new[case] = await grade(grader, played, episode, closes, rules=rules)
        stages.step(VERDICTS)

    await each(finished, regrade_case, concurrency)
    judged = [case for case in finished if case in new]
    return Regraded([old[case] for case in judged], [new[case] for case in judged], failures)


def _asked(questions: Mapping[str, Question], row: Plain) -> Question:
    try:
        return questions[row["question"]]
    except KeyError:
        raise RunError(
            f"questions.jsonl lacks question {row['question']!r} of case {row['case']!r}; start "
            "the run again to write it anew"
        ) from None
