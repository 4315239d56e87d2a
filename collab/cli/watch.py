"""`collab watch [DIR] [EPISODE]`: show one episode of a running run while it grows.

Without EPISODE, show one episode after the other until the run is over.
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

INTERVAL = 0.2
"""The time between two updates (seconds)."""
REST = 3.0
"""How long a finished episode stays before the next one is shown (seconds)."""


def main(argv: list[str]) -> int:
    """Show episodes until the run is over."""
    parser = argparse.ArgumentParser(prog="collab watch", description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("runs"), help="a run, or a folder of runs"
    )
    parser.add_argument("episode", nargs="?", default="", help="a part of the case's id")
    words = parser.parse_args(argv)
    job = running_run(words.folder)
    if words.episode and (done := [c for c in job.folder.finished() if words.episode in c]):
        raise RunError(
            f"{done[0]!r} is over; see it with: collab show {job.folder.path} {words.episode!r}"
        )
    console, viewer = Console(), LiveViewer(job.folder.path, words.episode)
    _print_dim(console, f"watching {job.folder.path} (Ctrl-C ends it)")
    try:
        views = snapshots(job, viewer)
        _show(views, console) if console.is_terminal else _print_events(views, console)
    finally:
        viewer.close()
    _print_dim(console, f"see them all: collab view {job.folder.path}")
    return 0


def running_run(folder: Path) -> RunSummary:
    """Return the running run in a folder; if there are several, the last one started.

    Raises:
        RunError: No run is running.
    """
    sound, damaged = survey(folder)
    found = [job for job in sound if job.folder.holder]
    if not found:
        raise RunError(
            f"no run is running in {str(folder)!r}: start one, or see finished ones with "
            f"collab view {folder}" + "".join(f"; {line}" for line in damaged)
        )
    return max(found, key=lambda job: job.started)


def snapshots(job: RunSummary, viewer: LiveViewer) -> Iterator[ViewSnapshot]:
    """Yield snapshots until the run or the one wanted episode is over."""
    while True:
        running = job.folder.holder is not None  # checked first, so that the last snapshot is seen
        view = viewer.look()
        if view is not None:
            yield view
        if not running or (view and view.finish and viewer.wanted):
            return
        time.sleep(INTERVAL)


def _show(views: Iterator[ViewSnapshot], console: Console) -> None:
    """Show each episode while it grows, and keep it on the screen when it is over."""
    finished = ""
    with Live(console=console, auto_refresh=False, transient=True) as screen:
        for view in views:
            if view.case == finished:
                continue
            screen.update(GrowingTrajectory(view.trajectory, above=view.case), refresh=True)
            if view.finish:
                finished = view.case
                console.print(Text(safe(view.case), "bold"), asked(view.messages), sep="\n")
                end = Text(_describe_end(view), "bold")
                console.print(render_trajectory(view.trajectory), end, sep="\n")
                screen.update("", refresh=True)
                time.sleep(REST)


def _print_events(views: Iterator[ViewSnapshot], console: Console) -> None:
    """Print each event in a line of its own."""
    case, printed = "", 0
    for view in views:
        lines = [view.case, *(f"{message.role}: {message.content}" for message in view.messages)]
        lines += map(line, view.trajectory.log)
        lines += [_describe_end(view)] if view.finish else []
        printed = printed if view.case == case else 0
        case = view.case
        for text in lines[printed:]:
            console.print(Text(safe(text).replace("\n", "\n    ")), soft_wrap=True)
        printed = len(lines)


def _print_dim(console: Console, line: str) -> None:
    console.print(Text(safe(line), "dim"), soft_wrap=True)


def _describe_end(view: ViewSnapshot) -> str:
    return f"{view.finish}, {view.verdict}" if view.verdict else view.finish
