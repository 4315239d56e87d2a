"""`collab play question='…'`: play one question with any policy and team, and watch it grow."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console
from rich.live import Live
from rich.text import Text

from collab.app.compose import add_config_arguments, composed
from collab.app.play import DEFAULTS, case_of
from collab.app.session import opened
from collab.app.terminal import is_wanted
from collab.config.config import Built
from collab.core.trajectory import Trajectory
from collab.episode.engine import Case, Episode
from collab.errors import ConfigError
from collab.report.starting import StartProgress
from collab.report.trajectory import GrowingTrajectory, render_trajectory, safe
from collab.runs.run import Setup


def main(argv: list[str]) -> int:
    """Play one question and print its trajectory."""
    parser = argparse.ArgumentParser(
        prog="collab play",
        description=__doc__,
        epilog="example: collab play policy=alternate team=pair boundary=sentence "
        "question='Mia has 3 pens. She buys 4. How many pens does she have now?'",
    )
    add_config_arguments(parser)
    words = parser.parse_args(argv)
    question, overrides = _split_question(words.overrides)
    built = composed([*DEFAULTS, *overrides], words.config_dir, trust=words.trust)
    episode = asyncio.run(_play(built, question, Console()))
    return 0 if episode.finish == "answered" else 1


def _split_question(overrides: list[str]) -> tuple[str | None, list[str]]:
    """Take `question=…` out of the overrides: it is text, not a setting."""
    questions = [word for word in overrides if word.startswith("question=")]
    rest = [word for word in overrides if not word.startswith("question=")]
    text = questions[-1].partition("=")[2] if questions else None
    if text is not None and not text.strip():
        raise ConfigError("question= is empty; give the text of a question")
    return text, rest


async def _play(built: Built, text: str | None, console: Console) -> Episode:
    async with opened(built, tell=StartProgress(console)) as (setup, _):
        case = case_of(setup, built, text)
        console.print(Text(safe(case.question.messages[-1].content)))
        episode = await _play_visibly(setup, case, console)
    console.print(f"{episode.finish} after {episode.trajectory.tokens} tokens", style="bold")
    return episode


async def _play_visibly(setup: Setup, case: Case, console: Console) -> Episode:
    """Play a case and print its trajectory; on a terminal, show it while it grows."""
    if not console.is_terminal or is_wanted(setup.team):
        episode = await setup.play(case)
        console.print(render_trajectory(episode.trajectory))
        return episode
    with Live(console=console, refresh_per_second=12, transient=True) as live:

        def watch(trajectory: Trajectory, growing: str) -> None:
            live.update(GrowingTrajectory(trajectory, growing))

        episode = await setup.play(case, watch=watch)
    console.print(render_trajectory(episode.trajectory))
    return episode
