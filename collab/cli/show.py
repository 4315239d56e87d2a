"""`collab show RUN [EPISODE]`: print one trajectory in colour, or list a run's episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.errors import RunError
from collab.report.formatting import PlainTable
from collab.report.tables import print_whole
from collab.report.trajectory import asked, render_trajectory, safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder


def main(argv: list[str]) -> int:
    """Print the episode or the list."""
    parser = argparse.ArgumentParser(prog="collab show", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("episode", nargs="?", help="the case's id, or a part that no other id has")
    parser.add_argument("--limit", type=int, default=40, help="episodes to list (default: 40)")
    words = parser.parse_args(argv)
    with reading(words.run):
        folder = RunFolder(words.run)
        _ = folder.manifest
        if not folder.finished():
            raise no_episodes(folder)
        console = Console()
        if words.episode is None:
            _list(folder, words.limit, console)
        else:
            _show(folder, find(folder, words.episode), console)
    return 0


def no_episodes(folder: RunFolder) -> RunError:
    """Return the error for a run without episodes, with the error that ended its last start."""
    standing = folder.status
    stopped = standing.stopped if standing else ""
    why = f"; its last start ended with: {stopped}" if stopped else ""
    return RunError(f"{str(folder.path)!r} holds no finished episode yet{why}")


def find(folder: RunFolder, wanted: str) -> str:
    """Return the case whose id is `wanted`, or the only one whose id contains it.

    Raises:
        RunError: No id contains it, or several do; the message names some.
    """
    cases = folder.finished()
    near = [case for case in cases if wanted in case]
    if wanted in cases or len(near) == 1:
        return wanted if wanted in cases else near[0]
    some = ", ".join(map(repr, near[:5]))
    why = f"{len(near)} episodes match, such as {some}" if near else "no episode matches"
    raise RunError(f"{wanted!r} does not name one episode of {str(folder.path)!r}: {why}")


def _list(folder: RunFolder, limit: int, console: Console) -> None:
    scores = folder.scores()
    table = PlainTable()
    for column in ("episode", "verdict", "given", "tokens"):
        table.head(column)
    for score in list(scores.values())[:limit]:
        given = safe(score.extracted or "–").replace("\n", " ")[:20]
        table.add_row(score.case, score.verdict, given, str(score.tokens))
    print_whole(console, table)
    if len(scores) > limit:
        console.print(f"… and {len(scores) - limit} more (--limit)", style="dim")


def _show(folder: RunFolder, case: str, console: Console) -> None:
    episode, row = folder.episode(case)
    question, score = folder.questions()[row["question"]], folder.scores()[case]
    console.print(safe(case), style="bold", markup=False, highlight=False)
    console.print(asked(question.messages))
    console.print(render_trajectory(episode.trajectory))
    said = f"{score.verdict} (given {score.extracted!r}, gold answer {question.answer!r})"
    console.print(safe(said), style="bold", markup=False, highlight=False)
