"""`collab play question='…'`: one question, any policy and team, shown while it grows."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console
from rich.live import Live
from rich.text import Text

from collab.cli.compose import add_config_arguments, composed
from collab.cli.session import opened
from collab.config import Built
from collab.engine import Case, Episode
from collab.errors import ConfigError
from collab.report.starting import Starting
from collab.report.trajectory import Growing, safe, shown
from collab.run import Setup
from collab.trajectory import Question, Trajectory


def main(argv: list[str]) -> int:
    """Play one question and print its trajectory."""
    parser = argparse.ArgumentParser(
        prog="collab play",
        description=__doc__,
        epilog="example: collab play policy=alternate team=pair boundary=sentence "
        "question='Mia has 3 pens. She buys 4. How many pens does she have now?'",
    )
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    question, overrides = _question(asked.overrides)
    built = composed(
        ["scenario=collaboration", "team=solo", "policy=solo", *overrides], asked.config_dir
    )
    episode = asyncio.run(_play(built, question, Console()))
    return 0 if episode.finish == "answered" else 1


def _question(overrides: list[str]) -> tuple[str | None, list[str]]:
    """Take `question=…` out of the overrides: it is text, not a setting."""
    asked = [word for word in overrides if word.startswith("question=")]
    rest = [word for word in overrides if not word.startswith("question=")]
    text = asked[-1].partition("=")[2] if asked else None
    if text is not None and not text.strip():
        raise ConfigError("question= is empty; say what to ask")
    return text, rest


async def _play(built: Built, text: str | None, console: Console) -> Episode:
    async with opened(built, tell=Starting(console)) as (setup, _):
        question = setup.questions[0]
        if text is not None:
            question = Question("play/" + text, built.config.prompt.messages(text))
        console.print(Text(safe(question.messages[-1].content)))
        episode = await _watched(setup, question, console)
    console.print(f"{episode.finish} after {episode.trajectory.tokens} tokens", style="bold")
    return episode


async def _watched(setup: Setup, question: Question, console: Console) -> Episode:
    case = Case(question.id, question, setup.policy)
    if not console.is_terminal:
        episode = await setup.play(case)
        console.print(shown(episode.trajectory))
        return episode
    with Live(console=console, refresh_per_second=12, transient=True) as live:

        def watch(trajectory: Trajectory, growing: str) -> None:
            live.update(Growing(trajectory, growing))

        episode = await setup.play(case, watch=watch)
    console.print(shown(episode.trajectory))
    return episode
