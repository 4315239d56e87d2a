"""Serve a whole collaboration as one model behind an OpenAI-compatible API."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

import uvicorn
from rich.console import Console

from collab.cli.compose import add_config_arguments, composed
from collab.cli.session import opened
from collab.config import Built
from collab.engine import Case, Episode
from collab.report.starting import Starting
from collab.trajectory import Question
from collab.wire.collaboration import build_collaboration
from collab.wire.serving import listen, server_config


def main(argv: list[str]) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="collab serve",
        description=__doc__,
        epilog="example: collab serve --port 8000 policy=speculate team=drafted budget=400",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one (%(default)s)")
    parser.add_argument("--name", default="collab", help="what the model is called (%(default)s)")
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    built = composed(
        ["scenario=collaboration", *asked.overrides], asked.config_dir, trust=asked.trust
    )
    with suppress(KeyboardInterrupt):  # how it is meant to end
        asyncio.run(_serve(built, asked.name, asked.host, asked.port))
    return 0


async def _serve(built: Built, name: str, host: str, port: int) -> None:
    console = Console()
    async with opened(built, tell=Starting(console)) as (setup, _):

        async def play(question: Question) -> Episode:
            return await setup.play(Case(question.id, question, setup.policy))

        with listen(host, port) as listening:
            where = f"http://{host}:{listening.getsockname()[1]}/v1"
            console.print(f"serving {name!r} at {where} (Ctrl-C ends it)", highlight=False)
            server = uvicorn.Server(server_config(build_collaboration(name, play)))
            await server.serve(sockets=[listening])
