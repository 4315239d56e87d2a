"""`collab show RUN [EPISODE]`: one trajectory in colour, or the list of a run's episodes."""

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
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="collab show", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("episode", nargs="?", help="the case's id, or a part that only it has")
    parser.add_argument("--limit", type=int, default=40, help="episodes to list (default: 40)")
    words = parser.parse_args(argv)
    with reading(words.run):
        folder = RunFolder(words.run)
        _ = folder.manifest
        if not folder.finished():
            raise empty(folder)
        console = Console()
        if words.episode is None:
            _list(folder, words.limit, console)
        else:
            _show(folder, find(folder, words.episode), console)
    return 0


def empty(folder: RunFolder) -> RunError:
    """Say why a run holds nothing, as far as it was noted."""
    status = folder.status
    said = status.stopped if status else ""
    why = f"; its last start ended with: {said}" if said else ""
    return RunError(f"{str(folder.path)!r} holds no finished episode yet{why}")


def find(folder: RunFolder, wanted: str) -> str:
    """Return the case whose id is, or alone contains, `wanted`.

    Raises:
        RunError: None is, or several are; the message names some.
    """
    cases = folder.finished()
    near = [case for case in cases if wanted in case]
    if wanted in cases or len(near) == 1:
        return wanted if wanted in cases else near[0]
    some = ", ".join(map(repr, near[:5]))
    said = f"{len(near)} episodes have it, such as {some}" if near else "no episode has it"
    raise RunError(f"{wanted!r} names no one episode of {str(folder.path)!r}: {said}")


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
    said = f"{score.verdict} (given {score.extracted!r}, known answer {question.answer!r})"
    console.print(safe(said), style="bold", markup=False, highlight=False)
