"""Play one question from Python, as `collab play` does in the shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from collab.app.background import run_sync
from collab.app.compose import composed
from collab.app.error_line import collab_errors
from collab.app.overrides import override_words
from collab.app.session import opened
from collab.config.config import Built
from collab.core.policy import Policy
from collab.core.trajectory import Question
from collab.episode.engine import Case, Episode
from collab.report.starting import StartProgress
from collab.runs.run import Setup

DEFAULTS = ("scenario=collaboration", "team=solo", "policy=solo")
"""The words that come before the user's own."""


def play(
    *overrides: str,
    policy: Policy | str | None = None,
    question: str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> Episode:
    """Play one question and return the episode, as `collab play` does in the shell.

        import collab

        collab.play("team=pair", "policy=alternate", question="What is 3 + 4?").trajectory

    Draws are stored: the same question gets the same draws again.

    Args:
        overrides: Changes to the config, such as `"team=pair"`.
        policy: A policy value that replaces the config's, or the name of one in `conf/policy`.
        question: The text of the question; None: the first of the config's questions.
        config_dirs: Folders with conf files and modules of your own (`-cd` in the shell).
        trust: Allow these folders to start programs, send, and read other files (`--trust`).
        progress: Show the start of servers on stderr, or in the notebook.
        settings: Further changes by keyword, such as `budget=600`.

    Raises:
        CollabError: A setting is wrong, a server cannot be reached, or the policy failed.
    """
    return run_sync(
        aplay(
            *overrides,
            policy=policy,
            question=question,
            config_dirs=config_dirs,
            trust=trust,
            progress=progress,
            **settings,
        )
    )


async def aplay(
    *overrides: str,
    policy: Policy | str | None = None,
    question: str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> Episode:
    """Play one question as `play` does, in the running event loop."""
    words = [*DEFAULTS, *override_words(overrides, settings, policy)]
    value = None if isinstance(policy, str) else policy
    with collab_errors():
        built = composed(words, config_dirs, value, trust=trust)
        console = Console(stderr=True, quiet=not progress)
        async with opened(built, tell=StartProgress(console)) as (setup, _):
            return await setup.play(case_of(setup, built, question))


def case_of(setup: Setup, built: Built, text: str | None) -> Case:
    """Return the case that asks a text; without one, the first of the config's questions."""
    question = (
        setup.questions[0]
        if text is None
        else Question("play/" + text, built.config.prompt.messages(text))
    )
    return Case(question.id, question, setup.policy)
