"""`collab report DIR`: print a run's tables, or one table over all runs in a folder.

Write each run's `report.html` again into its folder: one file that uses no network.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from collab.app.prompts import Prompts
from collab.app.trust import add_trust_argument
from collab.errors import RunError
from collab.report.page import write_report
from collab.report.run_json import checkpoint_panels, figures, figures_of_many
from collab.report.runs import RunSummary, runs_table, survey
from collab.report.tables import print_whole
from collab.report.trajectory import safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder


def main(argv: list[str]) -> int:
    """Print the tables and write the pages."""
    parser = argparse.ArgumentParser(prog="collab report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder, or a sweep's: runs/NAME")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="also draw the figures, as PNG and SVG in figures/ (extra: report)",
    )
    parser.add_argument(
        "--verdicts",
        default="",
        metavar="NAME",
        help="only print a run's tables, by verdicts that `collab regrade` made",
    )
    add_trust_argument(parser)
    words = parser.parse_args(argv)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with reading(words.folder):
        if words.verdicts:
            print_whole(console, runs_table([RunSummary(RunFolder(words.folder, words.verdicts))]))
        else:
            _report(words, console)
    return 0


def _report(words: argparse.Namespace, console: Console) -> None:
    """Print the tables and write the pages of the readable runs; report damage in the others.

    Raises:
        RunError: No run is readable.
    """
    found, damaged = survey(words.folder)
    if not found:
        raise RunError("; ".join(damaged))
    print_whole(console, runs_table(found))
    for job in found:
        try:
            with reading(job.folder.path):
                page, *shards = write_report(job, Prompts(job.folder, trust=words.trust))
        except RunError as error:
            damaged.append(f"no page: {error}")
            continue
        extra = f" ({len(shards)} shards next to it)" if shards else ""
        console.print(safe(f"page: {page}{extra}"))
    for path in _drawn(found, words.folder) if words.figures else ():
        console.print(safe(f"figure: {path}"))
    for line in damaged:
        console.print(safe(line), style="red")


def _drawn(found: Sequence[RunSummary], folder: Path) -> Iterator[Path]:
    """Draw the figures of each run into its folder, and those of several runs into theirs."""
    from collab.report.draw import draw, draw_panels

    for job in found:
        for figure in figures(job):
            yield from draw(figure, job.folder.path / "figures")
    if len(found) > 1:
        for figure in figures_of_many(found):
            yield from draw(figure, folder / "figures")
        if panels := checkpoint_panels(found):
            alt = "; ".join(panel.alt for panel in panels)
            yield from draw_panels(panels, folder / "figures" / "checkpoints", alt)
