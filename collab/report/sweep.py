"""The end of a sweep: its tables, what it found, and where to look next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from collab.errors import RunError
from collab.report.findings import findings
from collab.report.run_json import test_panels
from collab.report.runs import RunSummary, survey, swept
from collab.report.tables import astray, print_whole
from collab.report.trajectory import safe


def print_sweep(folder: Path, console: Console, program: str) -> None:
    """Print the tables over the runs of a sweep, a sentence for each test, and what to do next.

    Args:
        folder: The sweep's folder.
        console: Where to print.
        program: How this shell calls collab.
    """
    try:
        found, damaged = survey(folder)
    except RunError:  # every job was refused, and has printed why
        return
    if found:
        console.print()
        print_whole(console, Group(*swept(found)))
        lines = [*findings(found), "", *_next_steps(folder, found, program)]
        for line in lines:
            console.print(Text(safe(line)))
    for line in damaged:
        console.print(safe(line), style="red", markup=False, highlight=False)


def _next_steps(folder: Path, found: Sequence[RunSummary], program: str) -> Iterator[str]:
    if picture := _picture(folder, found):
        yield f"picture: {picture}"
    misled = ((job.folder.path, case) for job in found for case in astray(job.scores))
    if first := next(misled, None):
        path, case = first
        yield f"a trajectory: {program} show {path} {shlex.quote(case)}"
    yield f"the pages:    {program} view {folder}"
    yield f"all tables:   {program} report RUN, with one of the runs in {folder}"


def _picture(folder: Path, found: Sequence[RunSummary]) -> Path | None:
    """Draw the curves of the two tests; None without them, or without matplotlib."""
    panels = test_panels(found)
    if not panels or find_spec("matplotlib") is None:
        return None
    from collab.report.draw import draw_panels

    alt = "; ".join(panel.alt for panel in panels)
    png, *_ = draw_panels(panels, folder / "figures" / "models", alt)
    return png
