"""`collab cohort RUN… --solved 8 --to FILE`: freeze questions that models solve equally often.

The runs are solo benchmarks (scenario=solo), one for each model, on the same questions. Later runs
with questions.cohort=FILE ask only the questions in the file.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.console import Console

from collab.app.benchmark import solve_counts
from collab.errors import ConfigError
from collab.questions.cohort import Cohort, counted, shared
from collab.report.runs import jobs
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
        help="how many of its solo draws each model must have solved: 8, or 0-1",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="FILE", help="the file to write")
    words = parser.parse_args(argv)
    least, most = _parse_counts(words.solved)
    benches = [solve_counts(job) for path in words.runs for job in jobs(path)]
    cohort = Cohort.of(benches, least, most)
    cohort.write(words.to)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for model, count in shared(benches, least, most).items():
        result = f"{count} of {len(benches[0].solved)} solved {counted(least, most)}"
        console.print(safe(f"{model}: {result}"))
    console.print(safe(f"{words.to}: {cohort} (hash {cohort.digest})"))
    return 0


def _parse_counts(text: str) -> tuple[int, int]:
    found = COUNTS.fullmatch(text)
    if found is None:
        raise ConfigError(f"--solved {text!r} is no count: give 8, or 0-1")
    return int(found[1]), int(found[2] or found[1])
