"""`collab cohort RUN… --solved 8 --to FILE`: freeze the questions that several models solve alike.

The runs are solo benchmarks (scenario=solo), one a model, on the same questions. The file goes into
later runs as questions.cohort=FILE: they ask these questions alone.
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
        help="of its solo draws, what each model must have solved: 8, or 0-1",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="FILE", help="where it goes")
    words = parser.parse_args(argv)
    least, most = _counts(words.solved)
    benches = [solve_counts(job) for path in words.runs for job in jobs(path)]
    cohort = Cohort.of(benches, least, most)
    cohort.write(words.to)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for model, count in shared(benches, least, most).items():
        alike = f"{count} of {len(benches[0].solved)} solved {counted(least, most)}"
        console.print(safe(f"{model}: {alike}"))
    console.print(safe(f"{words.to}: {cohort} (hash {cohort.digest})"))
    return 0


def _counts(said: str) -> tuple[int, int]:
    found = COUNTS.fullmatch(said)
    if found is None:
        raise ConfigError(f"--solved {said!r} is no count: give 8, or 0-1")
    return int(found[1]), int(found[2] or found[1])
