"""`collab export RUN`: write a run as tidy tables (CSV, Parquet), or as a log for Inspect."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from collab.report.export import export
from collab.report.inspect_log import export_log
from collab.report.trajectory import safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder


def main(argv: list[str]) -> int:
    """Write the tables and print their folder."""
    parser = argparse.ArgumentParser(prog="collab export", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    forms = ("csv", "parquet", "inspect")
    parser.add_argument("--form", choices=forms, default="csv", help="default: csv")
    parser.add_argument("--to", type=Path, help="a folder (default: export/ in the run's)")
    parser.add_argument(
        "--verdicts", default="", metavar="NAME", help="verdicts that `collab regrade` made"
    )
    words = parser.parse_args(argv)
    to = words.to or words.run / "export"
    console = Console()
    folder = RunFolder(words.run, words.verdicts)
    steps = export_log(folder, to) if words.form == "inspect" else export(folder, to, words.form)
    quiet = not console.is_terminal
    shown = track(steps, "episodes", console=console, transient=True, disable=quiet)
    with reading(words.run):
        done = max(shown, default=0)
    said = safe(f"{done} episodes in {to}")
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    return 0
