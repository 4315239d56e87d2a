"""`collab serve`: serve a collaboration as one model with an OpenAI-compatible API."""

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
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="collab serve",
        description=__doc__,
        epilog="example: collab serve --port 8000 policy=speculate team=drafted budget=400",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any free port (%(default)s)")
    parser.add_argument("--api-key-env", help="the variable with the key that clients must send")
    parser.add_argument("--name", default="collab", help="the model's name (%(default)s)")
    add_config_arguments(parser)
    words = parser.parse_args(argv)
    key = key_in(words.api_key_env)
    built = composed(
        ["scenario=collaboration", *words.overrides], words.config_dir, trust=words.trust
    )
    with (
        listen(words.host, words.port) as listening,
        suppress(KeyboardInterrupt),  # the usual end
    ):
        asyncio.run(_serve(built, words.name, listening, key, own_names(words.host)))
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

        needs = f" to clients with the API key {made}" if made else ""
        where = f"{address(listening)}/v1"
        console.print(f"serving {name!r} at {where}{needs} (Ctrl-C ends it)", markup=False)
        app = build_collaboration(name, play, key=key or made, names=names)
        await UvicornServer(app).serve(sockets=[listening])
