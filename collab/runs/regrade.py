"""Judging a run again: the stored answers get new verdicts, which stand beside the old ones.

Which cases there are was decided by the first verdicts of the solo draws, and stays as it is.
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
"""The stage that progress tells of."""


@dataclass(frozen=True, slots=True)
class _Played:
    """What is known of a case that was played before."""

    question: Question
    design: Design
    labels: Mapping[str, Label]
    rival: str | None


@dataclass(frozen=True)
class Regraded:
    """Two verdicts on each episode of a run."""

    before: Sequence[Score]
    after: Sequence[Score]
    """In the same order."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why an episode could not be judged; it has no verdict in either."""

    @property
    def changed(self) -> Iterator[tuple[Score, Score]]:
        """Yield the episodes whose verdict is another one now."""
        pairs = zip(self.before, self.after, strict=True)
        return ((old, new) for old, new in pairs if old.verdict != new.verdict)

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        """Count the changes, from which verdict to which."""
        return Counter((old.verdict, new.verdict) for old, new in self.changed)


async def regrade(
    folder: RunFolder,
    grader: Grader,
    rules: Grader,
    closes: Sequence[str],
    stages: Stages,
    concurrency: int = 64,
) -> Regraded:
    """Judge all finished episodes of a run.

    Args:
        folder: The run.
        grader: Judges the answers.
        rules: Says whether an answer is the steer's, where the grader is a model.
        closes: The tags that close the thinking of the run's models.
        stages: Where progress is told.
        concurrency: Episodes judged at once.

    Raises:
        RunError: The run's files are damaged.
        CollabError: A judge cannot be reached.
    """
    finished, questions, old = folder.finished(), folder.questions(), folder.scores()
    new: dict[str, Score] = {}
    failures: dict[str, str] = {}
    stages.expect(VERDICTS, len(finished))

    async def one(case: str) -> None:
        episode, row = folder.at(finished[case])
        played = _Played(_asked(questions, row), *Design.split(row["labels"]), row["rival"])
        with noting(case, failures):
            new[case] = await grade(grader, played, episode, closes, rules=rules)
        stages.step(VERDICTS)

    await each(finished, one, concurrency)
    judged = [case for case in finished if case in new]
    return Regraded([old[case] for case in judged], [new[case] for case in judged], failures)


def _asked(questions: Mapping[str, Question], row: Plain) -> Question:
    try:
        return questions[row["question"]]
    except KeyError:
        raise RunError(
            f"questions.jsonl does not hold {row['question']!r}, which {row['case']!r} is about; "
            "start the run again, and it is written anew"
        ) from None
