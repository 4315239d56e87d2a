"""`collab watch [DIR] [EPISODE]`: one episode of a run that goes on elsewhere, while it grows.

Without an episode it goes from one that is over to one that is under way, until the run is over.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from collab.errors import RunError
from collab.report.runs import RunSummary, survey
from collab.report.trajectory import GrowingTrajectory, asked, line, render_trajectory, safe
from collab.runs.live_view import LiveViewer, ViewSnapshot

OFTEN = 0.2
"""Seconds between two looks."""
REST = 3.0
"""Seconds for which an episode that is over stays, before another one is shown."""


def main(argv: list[str]) -> int:
    """Show episodes until there is no more to see."""
    parser = argparse.ArgumentParser(prog="collab watch", description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("runs"), help="a run, or a folder of runs"
    )
    parser.add_argument("episode", nargs="?", default="", help="a part of the case's id")
    words = parser.parse_args(argv)
    job = going(words.folder)
    if words.episode and (done := [c for c in job.folder.finished() if words.episode in c]):
        raise RunError(
            f"{done[0]!r} is over; see it with: collab show {job.folder.path} {words.episode!r}"
        )
    console, eye = Console(), LiveViewer(job.folder.path, words.episode)
    _aside(console, f"watching {job.folder.path} (Ctrl-C ends it)")
    try:
        seen = looks(job, eye)
        _show(seen, console) if console.is_terminal else _tell(seen, console)
    finally:
        eye.close()
    _aside(console, f"see them all: collab view {job.folder.path}")
    return 0


def going(folder: Path) -> RunSummary:
    """Return the run that goes on in a folder; of several the one that was started last.

    Raises:
        RunError: None does.
    """
    sound, damaged = survey(folder)
    found = [job for job in sound if job.folder.holder]
    if not found:
        raise RunError(
            f"no run goes on in {str(folder)!r}: start one, or look at those that are over with "
            f"collab view {folder}" + "".join(f"; {line}" for line in damaged)
        )
    return max(found, key=lambda job: job.started)


def looks(job: RunSummary, eye: LiveViewer) -> Iterator[ViewSnapshot]:
    """Yield what there is to see, until the run or the one wanted episode is over."""
    while True:
        going_on = job.folder.holder is not None  # before the look: what comes last is seen too
        seen = eye.look()
        if seen is not None:
            yield seen
        if not going_on or (seen and seen.finish and eye.wanted):
            return
        time.sleep(OFTEN)


def _show(looks: Iterator[ViewSnapshot], console: Console) -> None:
    """Let each episode grow on the screen, and leave it above when it is over."""
    told = ""
    with Live(console=console, auto_refresh=False, transient=True) as screen:
        for seen in looks:
            if seen.case == told:
                continue
            screen.update(GrowingTrajectory(seen.trajectory, above=seen.case), refresh=True)
            if seen.finish:
                told = seen.case
                console.print(Text(safe(seen.case), "bold"), asked(seen.messages), sep="\n")
                console.print(
                    render_trajectory(seen.trajectory), Text(_ended(seen), "bold"), sep="\n"
                )
                screen.update("", refresh=True)
                time.sleep(REST)


def _tell(looks: Iterator[ViewSnapshot], console: Console) -> None:
    """Print each event in a line of its own, as it comes."""
    case, told = "", 0
    for seen in looks:
        lines = [seen.case, *(f"{message.role}: {message.content}" for message in seen.messages)]
        lines += map(line, seen.trajectory.log)
        lines += [_ended(seen)] if seen.finish else []
        told = told if seen.case == case else 0
        case = seen.case
        for one in lines[told:]:
            console.print(Text(safe(one).replace("\n", "\n    ")), soft_wrap=True)
        told = len(lines)


def _aside(console: Console, said: str) -> None:
    console.print(Text(safe(said), "dim"), soft_wrap=True)


def _ended(seen: ViewSnapshot) -> str:
    return f"{seen.finish}, {seen.verdict}" if seen.verdict else seen.finish
