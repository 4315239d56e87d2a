"""`collab regrade RUN grader=…`: grade a run's stored answers again, next to the first verdicts.

Nothing is sampled, except by a grader that is a model. Its earlier replies come from the store.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from pathlib import Path

from rich.console import Console

from collab.app.compose import add_config_arguments
from collab.app.rebuild_config import CommandLine
from collab.app.regrade import RegradedRun, load_regrading
from collab.core.secret import hide_words
from collab.report.tables import headlines, print_whole
from collab.report.trajectory import safe
from collab.runs.regrade import Regraded
from collab.runs.run_folder import RunFolder

SHOWN = 5


def main(argv: list[str]) -> int:
    """Grade again; return 1 if an answer could not be graded."""
    parser = argparse.ArgumentParser(
        prog="collab regrade",
        description=__doc__,
        epilog="example: collab regrade runs/demo/recoverability-… grader=paper; afterwards "
        "collab report and export take --verdicts NAME",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    add_config_arguments(parser)
    words = parser.parse_intermixed_args(argv)
    folder = RunFolder(words.run)
    given = CommandLine(words.overrides, words.config_dir, words.trust)
    command = shlex.join(["collab", "regrade", *hide_words(argv)])
    regrading = load_regrading(folder, given, command)
    console = Console(soft_wrap=True)
    regraded = asyncio.run(regrading.grade(console))
    _print_changes(regraded.made, console)
    _print_done(words.run, regraded, console)
    return 1 if regraded.made.failures else 0


def _print_done(run: Path, regraded: RegradedRun, console: Console) -> None:
    draws = ""
    if regraded.draws is not None:
        sampled, served = regraded.draws
        draws = f", {sampled} generations sampled, {served} from the store"
    done = f"done: {len(regraded.made.after)} episodes graded{draws}, {regraded.path}"
    console.print(safe(done), highlight=False, markup=False)
    tables = f"tables: collab report {run} --verdicts {regraded.path.name}"
    console.print(safe(tables), markup=False)


def _print_changes(made: Regraded, console: Console) -> None:
    print_whole(console, headlines({"at the run": made.before, "now": made.after}))
    changed = list(made.changed)
    changes = (f"{count} {old} → {new}" for (old, new), count in made.changes.most_common())
    console.print(f"{len(changed)} verdicts changed{': ' if changed else ''}{', '.join(changes)}")
    for old, new in changed[:SHOWN]:
        line = f"  {old.case}: {old.verdict} → {new.verdict} (given {new.extracted!r})"
        console.print(safe(line), highlight=False, markup=False)
    if len(changed) > SHOWN:
        console.print(f"  … and {len(changed) - SHOWN} more", style="dim")
    for case, error in list(made.failures.items())[:SHOWN]:
        console.print(safe(f"not graded: {case}: {error}"), style="red", markup=False)
    note = "  the cases were chosen by the first verdicts and stay the same"
    console.print(note, style="dim")
