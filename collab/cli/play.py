"""`collab play question='…'`: one question, any policy and team, shown while it grows."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console
from rich.live import Live
from rich.text import Text

from collab.app.compose import add_config_arguments, composed
from collab.app.session import opened
from collab.app.terminal import is_wanted
from collab.config.config import Built
from collab.core.blocking import run_apart
from collab.core.policy import Policy
from collab.core.trajectory import Question, Trajectory
from collab.episode.engine import Case, Episode
from collab.errors import ConfigError
from collab.report.starting import StartProgress
from collab.report.trajectory import GrowingTrajectory, render_trajectory, safe
from collab.runs.run import Setup

BEGIN = ("scenario=collaboration", "team=solo", "policy=solo")
"""What is played where nothing else is said."""


def play(*overrides: str, policy: Policy | None = None, question: str | None = None) -> Episode:
    """Play one question, as `collab play` does, and return the episode: for notebooks and scripts.

        from collab import play

        play("team=pair", "policy=alternate", question="What is 3 + 4?").trajectory

    What is drawn is stored as ever: the same question is answered by the same draws again.

    Args:
        overrides: Changes to the config, such as `team=pair`.
        policy: A policy made in Python, in the place of the config's.
        question: What to ask; None: the first of the config's questions.

    Raises:
        CollabError: Something is wrong in the config, a server is not to be had, or the policy
            failed.
    """
    built = composed([*BEGIN, *overrides], policy=policy)

    async def alone() -> Episode:
        async with opened(built, tell=StartProgress(Console(stderr=True))) as (setup, _):
            asked = _asked(setup, built, question)
            return await setup.play(Case(asked.id, asked, setup.policy))

    return run_apart(alone())


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
    built = composed([*BEGIN, *overrides], asked.config_dir, trust=asked.trust)
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
    async with opened(built, tell=StartProgress(console)) as (setup, _):
        question = _asked(setup, built, text)
        console.print(Text(safe(question.messages[-1].content)))
        episode = await _watched(setup, question, console)
    console.print(f"{episode.finish} after {episode.trajectory.tokens} tokens", style="bold")
    return episode


def _asked(setup: Setup, built: Built, text: str | None) -> Question:
    if text is None:
        return setup.questions[0]
    return Question("play/" + text, built.config.prompt.messages(text))


async def _watched(setup: Setup, question: Question, console: Console) -> Episode:
    case = Case(question.id, question, setup.policy)
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
