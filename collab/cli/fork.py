"""`collab fork RUN EPISODE --at UNIT policy=…`: continue an episode with another policy.

The episode's first units stay as they are and are not sampled again. After them, the policy
decides. The result is a new run. Without --at, list the units.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from collab.app.compose import add_config_arguments
from collab.app.fork import build_fork
from collab.app.rebuild_config import CommandLine
from collab.app.run import play_run
from collab.cli.run import print_played
from collab.core.secret import hide_words
from collab.core.trajectory import Trajectory
from collab.report.formatting import PlainTable
from collab.report.tables import print_whole
from collab.runs.cases import find_case
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder

WIDTH = 80
"""The number of characters of a unit in the list of units."""


def main(argv: list[str]) -> int:
    """Play the fork, or list the units."""
    parser = argparse.ArgumentParser(
        prog="collab fork",
        description=__doc__,
        epilog="example: collab fork runs/demo/recoverability-… 1f2e/0/none --at 3 "
        "policy=budget_force --samples 8",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("episode", help="the case's id, or a part that no other id has")
    parser.add_argument("--at", type=int, metavar="UNIT", help="the number of units to keep")
    parser.add_argument("--samples", type=int, default=1, help="episodes to play (default: 1)")
    add_config_arguments(parser)
    words = parser.parse_intermixed_args(argv)
    console = Console(soft_wrap=True)
    with reading(words.run):
        folder = RunFolder(words.run)
        case = find_case(folder, words.episode)
        units = _units(folder.episode(case)[0].trajectory)
    if words.at is None:
        print_whole(console, units)
        return 0
    given = CommandLine(words.overrides, words.config_dir, words.trust)
    forked = build_fork(folder, case, words.at, given, words.samples)
    command = shlex.join(["collab", "fork", *hide_words(argv)])
    played = asyncio.run(play_run(forked, command, console))
    print_played(played, console)
    return 1 if played.result.failures else 0


def _units(trajectory: Trajectory) -> Table:
    """List the living units with their numbers for --at."""
    table = PlainTable()
    table.head("--at", right=True)
    for column in ("author", "kind", "tokens", "ends in"):
        table.head(column)
    for number, unit in enumerate(trajectory.units, 1):
        end = unit.text[-WIDTH:].replace("\n", "⏎")
        table.add_row(str(number), unit.author, unit.kind, str(unit.tokens), end)
    return table
