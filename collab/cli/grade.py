"""`collab grade FILE`: grade answers in a JSON lines file, without a run.

Each line is an object with `gold` (the gold answer) and `answer` (the reply without its thinking).
It may have `domain` (maths, choice, refusal or code), `options` (of a choice question), `id`, and
for code `suites`, `before`, `entry`, `reads` and `packages`. Each line of the output has the
verdict with `by`, `extracted`, `strict` and `lenient`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from collab.app.grade_lines import GradedLine, grade_lines
from collab.core.trajectory import Domain
from collab.errors import ConfigError
from collab.report.trajectory import safe

SHOWN = 5
"""Bad lines that are printed; the others are only counted."""


def main(argv: list[str]) -> int:
    """Grade the lines; the status is 1 if some could not be graded."""
    parser = argparse.ArgumentParser(
        prog="collab grade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help="a JSON lines file; - is standard input")
    parser.add_argument(
        "--domain",
        choices=get_args(Domain),
        default="maths",
        help="the domain of lines that name none (default: maths)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: standard output)"
    )
    words = parser.parse_args(argv)
    lines = _read_lines(words.file)
    with ExitStack() as stack:
        out: IO[str] = sys.stdout
        if words.out is not None:
            try:
                out = stack.enter_context(words.out.open("w", encoding="utf-8"))
            except OSError as error:
                raise ConfigError(f"{str(words.out)!r} cannot be written: {error}") from None
        return asyncio.run(_grade(lines, words.domain, out))


def _read_lines(file: str) -> Sequence[bytes]:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file!r} cannot be read: {error.strerror}") from None
    return data.split(b"\n")


async def _grade(lines: Sequence[bytes], domain: Domain, out: IO[str]) -> int:
    """Write the verdicts, and print progress, bad lines and a summary on standard error."""
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    counts, errors = Counter[str](), list[GradedLine]()
    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=sum(1 for line in lines if line.strip()))
        async for line in grade_lines(lines, domain):
            out.write(json.dumps(line.as_json(), ensure_ascii=False) + "\n")
            counts[line.judgement.verdict if line.judgement else "not graded"] += 1
            if line.judgement is None:
                errors.append(line)
            progress.advance(bar)
    for line in errors[:SHOWN]:
        console.print(safe(f"line {line.number}: {line.error}"))
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    console.print(f"{counts.total()} answers: {summary or 'none'}")
    return 1 if errors else 0
