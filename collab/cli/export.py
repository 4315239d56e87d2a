"""`collab export RUN`: write a run as tidy tables (CSV, Parquet), an Inspect log or ATIF files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from collab.report.atif_files import export_atif
from collab.report.export import export
from collab.report.inspect_log import export_log
from collab.report.trajectory import safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder

FORMS = ("csv", "parquet", "inspect", "atif")


def main(argv: list[str]) -> int:
    """Write the tables and print their folder."""
    parser = argparse.ArgumentParser(prog="collab export", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--form", choices=FORMS, help="default: csv")
    parser.add_argument(
        "--to", help="a folder (default: export/ in the run's), or a form, such as atif"
    )
    parser.add_argument(
        "--verdicts", default="", metavar="NAME", help="verdicts that `collab regrade` made"
    )
    words = parser.parse_args(argv)
    form, to = _form_and_folder(words.form, words.to, words.run / "export")
    console = Console()
    folder = RunFolder(words.run, words.verdicts)
    steps = _steps(folder, to, form)
    quiet = not console.is_terminal
    shown = track(steps, "episodes", console=console, transient=True, disable=quiet)
    with reading(words.run):
        done = max(shown, default=0)
    said = safe(f"{done} episodes in {to}")
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    return 0


def _form_and_folder(form: str | None, to: str | None, usual: Path) -> tuple[str, Path]:
    """Read `--to FORM` as the form, and any other `--to` as the folder."""
    if form is None and to in FORMS:
        return to, usual
    return form or "csv", Path(to) if to else usual


def _steps(folder: RunFolder, to: Path, form: str) -> Iterator[int]:
    """Return the steps of an export; each yields the number of episodes so far."""
    match form:
        case "inspect":
            return export_log(folder, to)
        case "atif":
            return export_atif(folder, to)
        case "parquet":
            return export(folder, to, "parquet")
        case _:
            return export(folder, to, "csv")
