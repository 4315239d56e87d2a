"""Serve a whole collaboration as one model behind an OpenAI-compatible API."""

from __future__ import annotations

import argparse
import asyncio
import socket
from contextlib import suppress

from rich.console import Console

from collab.app.compose import add_config_arguments, composed
from collab.app.session import opened
from collab.config.config import Built
from collab.core.trajectory import Question
from collab.episode.engine import Case, Episode
from collab.report.starting import StartProgress
from collab.serving import UvicornServer, address, key_for, key_in, listen, own_names
from collab.serving.collaboration import build_collaboration


def main(argv: list[str]) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="collab serve",
        description=__doc__,
        epilog="example: collab serve --port 8000 policy=speculate team=drafted budget=400",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one (%(default)s)")
    parser.add_argument("--api-key-env", help="the environment variable that holds the key to ask")
    parser.add_argument("--name", default="collab", help="what the model is called (%(default)s)")
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    key = key_in(asked.api_key_env)
    built = composed(
        ["scenario=collaboration", *asked.overrides], asked.config_dir, trust=asked.trust
    )
    with (
        listen(asked.host, asked.port) as listening,
        suppress(KeyboardInterrupt),  # how it is meant to end
    ):
        asyncio.run(_serve(built, asked.name, listening, key, own_names(asked.host)))
    return 0


async def _serve(
    built: Built, name: str, listening: socket.socket, key: str | None, names: frozenset[str]
) -> None:
    console = Console(soft_wrap=True, highlight=False)
    made = None if key else key_for(listening)
    async with opened(built, tell=StartProgress(console)) as (setup, _):

        async def play(question: Question, most: int | None) -> Episode:
            budget = min(setup.budget, most or setup.budget)
            return await setup.play(Case(question.id, question, setup.policy), budget=budget)

        asks = f" to whoever sends the API key {made}" if made else ""
        where = f"{address(listening)}/v1"
        console.print(f"serving {name!r} at {where}{asks} (Ctrl-C ends it)", markup=False)
        app = build_collaboration(name, play, key=key or made, names=names)
        await UvicornServer(app).serve(sockets=[listening])
