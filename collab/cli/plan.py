"""`collab plan`: estimate what a run or a sweep would cost; sends nothing without --probe.

A run's plan ends with three of its prompts. A sweep's plan has a row for each run, and the sum with
what the runs share.
"""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console

from collab.app.compose import add_config_arguments, composed, is_sweep
from collab.app.plan import plan_run
from collab.app.plan_sweep import plan_jobs
from collab.app.probe import probe_first
from collab.app.sweep import sweep_jobs
from collab.report.tables import print_whole


def main(argv: list[str]) -> int:
    """Print the plan of a run."""
    parser = argparse.ArgumentParser(prog="collab plan", description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="values separated by commas are a sweep"
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="first sample solo draws for ten seconds, which are stored, to estimate the time",
    )
    words = parser.parse_args(argv)
    asyncio.run(_plan(words, Console(soft_wrap=True, highlight=False)))
    return 0


async def _plan(words: argparse.Namespace, console: Console) -> None:
    folders, trust = words.config_dir, words.trust
    swept = words.multirun or is_sweep(words.overrides, folders, trust=trust)
    jobs = sweep_jobs(words.overrides, folders, trust=trust) if swept else [words.overrides]
    runs = [composed(job, folders, trust=trust) for job in jobs]
    speed = await probe_first(runs) if words.probe else None
    planned = await plan_jobs(jobs, runs) if swept else await plan_run(runs[0])
    print_whole(console, planned.__rich__())
    if speed is not None:
        console.print(speed.describe(planned.draws, most=not planned.exact))
    elif words.probe:
        console.print("time: unknown, as no solo draw was sampled")
