"""`collab ls [DIR]`: the runs there are, how they stand and what they came to."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.report.runs import jobs, listing
from collab.report.tables import print_whole


def main(argv: list[str]) -> int:
    """Print one line a run."""
    parser = argparse.ArgumentParser(prog="collab ls", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("runs"), help="where to look (default: runs)"
    )
    words = parser.parse_args(argv)
    print_whole(Console(), listing(jobs(words.folder)))
    return 0
