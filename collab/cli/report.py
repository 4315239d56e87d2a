"""`collab report DIR`: a run's tables and page again, or one table over all the runs in a folder.

Every run's `report.html` is written anew beside its files: one file that asks no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.report.page import write_report
from collab.report.runs import jobs, told
from collab.report.tables import print_whole


def main(argv: list[str]) -> int:
    """Print the tables and write the pages."""
    parser = argparse.ArgumentParser(prog="collab report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder, or a sweep's: runs/NAME")
    words = parser.parse_args(argv)
    console = Console()
    found = jobs(words.folder)
    print_whole(console, told(found))
    for job in found:
        page, *shards = write_report(job)
        beside = f" ({len(shards)} shards beside it)" if shards else ""
        console.print(f"page: {page}{beside}", markup=False, highlight=False, soft_wrap=True)
    return 0
