"""`collab show RUN [EPISODE]`: print one trajectory in colour, or list a run's episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from collab.report.formatting import PlainTable
from collab.report.tables import print_whole
from collab.report.trajectory import asked, render_trajectory, safe
from collab.runs.cases import check_finished, find_case
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
        check_finished(folder)
        console = Console()
        if words.episode is None:
            _list(folder, words.limit, console)
        else:
            _show(folder, find_case(folder, words.episode), console)
    return 0


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
