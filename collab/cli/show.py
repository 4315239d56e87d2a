"""`collab show RUN [EPISODE]`: one trajectory in colour, or the list of a run's episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collab.engine import Episode
from collab.errors import RunError
from collab.folder import Plain, RunFolder
from collab.report.tables import print_whole
from collab.report.trajectory import question_of, safe, shown
from collab.scenario import Score


def main(argv: list[str]) -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="collab show", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("episode", nargs="?", help="the case's id, or a part that only it has")
    parser.add_argument("--limit", type=int, default=40, help="episodes to list (default: 40)")
    asked = parser.parse_args(argv)
    folder = RunFolder(asked.run)
    _ = folder.manifest
    console = Console()
    if asked.episode is None:
        _list(folder, asked.limit, console)
    else:
        _show(*find(folder, asked.episode), folder.scores(), console)
    return 0


def find(folder: RunFolder, wanted: str) -> tuple[Episode, Plain]:
    """Return the episode whose id is, or alone contains, `wanted`.

    Raises:
        RunError: None is, or several are; the message names some.
    """
    near: list[tuple[Episode, Plain]] = []
    for episode, row in folder.episodes():
        if episode.case == wanted:
            return episode, row
        if wanted in episode.case:
            near.append((episode, row))
    if len(near) == 1:
        return near[0]
    some = ", ".join(repr(episode.case) for episode, _ in near[:5])
    said = f"{len(near)} episodes have it, such as {some}" if near else "no episode has it"
    raise RunError(f"{wanted!r} names no one episode of {str(folder.path)!r}: {said}")


def _list(folder: RunFolder, limit: int, console: Console) -> None:
    scores = folder.scores()
    table = Table(box=None, pad_edge=False)
    for column in ("episode", "verdict", "given", "tokens"):
        table.add_column(column, no_wrap=True)
    for score in list(scores.values())[:limit]:
        given = safe(score.extracted or "–").replace("\n", " ")[:20]
        table.add_row(Text(safe(score.case)), score.verdict, Text(given), str(score.tokens))
    print_whole(console, table)
    if len(scores) > limit:
        console.print(f"… and {len(scores) - limit} more (--limit)", style="dim")


def _show(episode: Episode, row: Plain, scores: dict[str, Score], console: Console) -> None:
    console.print(safe(episode.case), style="bold", markup=False, highlight=False)
    console.print(question_of(row["asked"]))
    console.print(shown(episode.trajectory))
    score = scores.get(episode.case)
    if score is not None:
        said = f"{score.verdict} (given {score.extracted!r}, known answer {row['answer']!r})"
        console.print(safe(said), style="bold", markup=False, highlight=False)
