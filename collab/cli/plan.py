"""`collab plan`: estimate what a run would cost and show three of its prompts; sends nothing."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console

from collab.app.compose import add_config_arguments, composed
from collab.app.plan import plan_run


def main(argv: list[str]) -> int:
    """Print the plan of a run."""
    parser = argparse.ArgumentParser(prog="collab plan", description=__doc__)
    add_config_arguments(parser)
    words = parser.parse_args(argv)
    built = composed(words.overrides, words.config_dir, trust=words.trust)
    console = Console(soft_wrap=True, highlight=False)
    console.print(asyncio.run(plan_run(built)))
    return 0
