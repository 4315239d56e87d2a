"""`collab fork RUN EPISODE --at UNIT policy=…`: continue an episode with another policy.

The episode's first units stay as they are and are not sampled again. After them, the policy
decides. The result is a new run. Without --at, list the units.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from collab.app.compose import add_config_arguments
from collab.app.rebuild_config import CommandLine, rebuild_config
from collab.app.run import play_run
from collab.app.wants import Want, program_wants, seat_wants, store_wants, target_wants
from collab.cli.run import print_played
from collab.cli.show import find
from collab.config.config import Built, RunConfig, build
from collab.core.secret import hide_words
from collab.core.trajectory import Json, Question, Trajectory
from collab.errors import ConfigError, RunError
from collab.questions import PromptFormat
from collab.questions.selection import RUNS
from collab.report.formatting import PlainTable
from collab.report.tables import print_whole
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder, digest
from collab.scenarios.collaboration import Collaboration
from collab.scenarios.fork import ForkScenario

MAY = (
    *("policy", "boundary", "team", "placement", "grader", "store", "budget", "replicate"),
    *("name", "concurrency", "caps", "strict_prefill"),
)
"""The settings of a run that may change after the unit."""
WIDTH = 80
"""The number of characters of a unit in the list of units."""


def main(argv: list[str]) -> int:
    """Play the fork, or list the units."""
    parser = argparse.ArgumentParser(
        prog="collab fork",
        description=__doc__,
        epilog="example: collab fork runs/demo/recoverability-… 1f2e/0/none --at 3 "
        "policy=budget_force --samples 8",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("episode", help="the case's id, or a part that no other id has")
    parser.add_argument("--at", type=int, metavar="UNIT", help="the number of units to keep")
    parser.add_argument("--samples", type=int, default=1, help="episodes to play (default: 1)")
    add_config_arguments(parser)
    words = parser.parse_intermixed_args(argv)
    console = Console(soft_wrap=True)
    with reading(words.run):
        folder = RunFolder(words.run)
        case = find(folder, words.episode)
        units = _units(folder.episode(case)[0].trajectory)
    if words.at is None:
        print_whole(console, units)
        return 0
    if not any(word.startswith("policy=") for word in words.overrides):
        raise ConfigError("name the policy of the fork: policy=…")
    if words.samples < 1:
        raise ConfigError(f"--samples {words.samples} is too few: give at least 1")
    given = CommandLine(words.overrides, words.config_dir, words.trust)
    config = rebuild_config(folder, given, MAY, _wants)
    collaboration = {"_target_": f"{Collaboration.__module__}.{Collaboration.__name__}"}
    asked = _read_question(folder, case, words.at)
    built = build(config.model_copy(update={"scenario": collaboration}), questions=asked)
    forked = _forked(built, folder, asked, words.samples)
    command = shlex.join(["collab", "fork", *hide_words(argv)])
    played = asyncio.run(play_run(forked, command, console))
    print_played(played, console)
    return 1 if played.result.failures else 0


@dataclass(frozen=True)
class _Asked:
    """The question of a fork, and the units that stay."""

    question: Question
    of: Mapping[str, Json]
    """The episode that is forked."""
    begin: Trajectory
    """The units that stay."""
    rival: str | None

    def load(self, prompt: PromptFormat, runs: Path = RUNS) -> list[Question]:
        """Return the question with its first prompt."""
        return [self.question]

    def origin(self, runs: Path = RUNS) -> Json:
        """Return the episode that is forked."""
        return self.of


def _wants(config: RunConfig) -> list[Want]:
    """Return the wants of a config for a fork, which loads no question set."""
    return [
        *program_wants(config),
        *seat_wants(config, config.team),
        *store_wants(config),
        *target_wants(config, ("policy", "boundary")),
    ]


def _read_question(folder: RunFolder, case: str, at: int) -> _Asked:
    """Read the question of an episode, and the units that stay.

    Raises:
        RunError: The run does not hold the question.
    """
    episode, row = folder.episode(case)
    begin = episode.trajectory.upto(at)
    of: dict[str, Json] = {
        "run": digest(folder.manifest["decides"]),
        "case": case,
        "at": at,
        "begins": digest({"units": [[unit.author, unit.text] for unit in begin.units]}),
    }
    questions = folder.questions()
    if row["question"] not in questions:
        raise RunError(f"questions.jsonl does not hold {row['question']!r}")
    return _Asked(questions[row["question"]], of, begin, row["rival"])


def _forked(built: Built, folder: RunFolder, asked: _Asked, samples: int) -> Built:
    """Replace the scenario by the fork."""
    case = str(asked.of["case"])
    scenario = ForkScenario(
        case=case,
        begin=asked.begin,
        verdict=folder.scores()[case].verdict,
        rival=asked.rival,
        samples=samples,
    )
    target = {
        "_target_": f"{ForkScenario.__module__}.{ForkScenario.__name__}",
        **asked.of,
        "samples": samples,
    }
    config = built.config.model_copy(update={"scenario": target})
    return built.model_copy(update={"config": config, "scenario": scenario})


def _units(trajectory: Trajectory) -> Table:
    """List the living units with their numbers for --at."""
    table = PlainTable()
    table.head("--at", right=True)
    for column in ("author", "kind", "tokens", "ends in"):
        table.head(column)
    for number, unit in enumerate(trajectory.units, 1):
        end = unit.text[-WIDTH:].replace("\n", "⏎")
        table.add_row(str(number), unit.author, unit.kind, str(unit.tokens), end)
    return table
