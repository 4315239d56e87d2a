"""`collab report DIR`: a run's tables again, or one table over all the runs in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.report.runs import jobs, told
from collab.report.tables import print_whole


def main(argv: list[str]) -> int:
    """Print the tables; 1 where a run is not finished."""
    parser = argparse.ArgumentParser(prog="collab report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder, or a sweep's: runs/NAME")
    words = parser.parse_args(argv)
    print_whole(Console(), told(jobs(words.folder)))
    return 0
