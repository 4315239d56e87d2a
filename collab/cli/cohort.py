"""`collab cohort RUN… --solved 8 --to FILE`: freeze the questions that several models solve alike.

The runs are solo benchmarks (scenario=solo), one a model, on the same questions. The file goes into
later runs as questions.cohort=FILE: they ask these questions alone.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

from rich.console import Console

from collab.analysis.estimates import arm_of
from collab.errors import ConfigError
from collab.questions.cohort import Cohort, SolveCounts, counted, shared
from collab.report.runs import RunSummary, jobs
from collab.report.trajectory import safe

COUNTS = re.compile(r"(\d+)(?:-(\d+))?")


def main(argv: list[str]) -> int:
    """Choose the questions and write the file."""
    parser = argparse.ArgumentParser(prog="collab cohort", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="solo runs, or folders with them")
    parser.add_argument(
        "--solved",
        required=True,
        metavar="COUNT",
        help="of its solo draws, what each model must have solved: 8, or 0-1",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="FILE", help="where it goes")
    words = parser.parse_args(argv)
    least, most = _counts(words.solved)
    benches = [bench_of(job) for path in words.runs for job in jobs(path)]
    cohort = Cohort.of(benches, least, most)
    cohort.write(words.to)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for model, count in shared(benches, least, most).items():
        alike = f"{count} of {len(benches[0].solved)} solved {counted(least, most)}"
        console.print(safe(f"{model}: {alike}"))
    console.print(safe(f"{words.to}: {cohort} (hash {cohort.digest})"))
    return 0


def bench_of(job: RunSummary) -> SolveCounts:
    """Read how often a solo run's model solved each question.

    Raises:
        ConfigError: It is no solo run, or is not finished.
    """
    where = str(job.folder.path)
    scores = arm_of(job.scores, "solo")
    if not scores:
        raise ConfigError(f"{where!r} holds no solo draws; run scenario=solo for each model")
    if job.state != "finished":
        raise ConfigError(f"{where!r} is not finished ({job.state}): run it to its end first")
    drawn = Counter(score.question for score in scores)
    right = Counter(score.question for score in scores if score.correct)
    seat = job.settings.get("scenario.main")
    return SolveCounts(
        model=str(job.settings.get(f"team.{seat}.id")),
        samples=max(drawn.values()),
        solved={question: right[question] for question in drawn},
    )


def _counts(said: str) -> tuple[int, int]:
    found = COUNTS.fullmatch(said)
    if found is None:
        raise ConfigError(f"--solved {said!r} is no count: give 8, or 0-1")
    return int(found[1]), int(found[2] or found[1])
