"""`collab ls [DIR]`: list runs with their state and their headline result."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.report.runs import listing, survey
from collab.report.tables import print_whole
from collab.report.trajectory import safe


def main(argv: list[str]) -> int:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(prog="collab ls", description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("runs"),
        help="the folder (default: runs)",
    )
    words = parser.parse_args(argv)
    console = Console(soft_wrap=True)
    found, damaged = survey(words.folder)
    print_whole(console, listing(found))
    for line in damaged:
        console.print(safe(line), style="red", markup=False, highlight=False)
    return 0
