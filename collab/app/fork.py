"""Continue an episode of a run with another policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collab.app.rebuild_config import CommandLine, rebuild_config
from collab.app.wants import Want, program_wants, seat_wants, store_wants, target_wants
from collab.config.config import Built, RunConfig, build
from collab.core.trajectory import Json, Question, Trajectory
from collab.errors import ConfigError, RunError
from collab.questions import PromptFormat
from collab.questions.selection import RUNS
from collab.runs.run_folder import RunFolder, digest
from collab.scenarios.collaboration import Collaboration
from collab.scenarios.fork import ForkScenario

MAY = (
    *("policy", "boundary", "team", "placement", "grader", "store", "budget", "replicate"),
    *("name", "concurrency", "caps", "strict_prefill"),
)
"""The settings of a run that may change after the unit."""


def build_fork(
    folder: RunFolder, case: str, at: int, given: CommandLine, samples: int = 1
) -> Built:
    """Build a run that keeps an episode's first units and continues with another policy.

    Args:
        folder: The run of the episode.
        case: The episode's case id.
        at: The number of units to keep.
        given: The settings to change, among them the policy.
        samples: The number of episodes to play.

    Raises:
        ConfigError: No policy is named, or there are too few samples.
        RunError: The run does not hold the question.
    """
    if not any(word.startswith("policy=") for word in given.overrides):
        raise ConfigError("name the policy of the fork: policy=…")
    if samples < 1:
        raise ConfigError(f"--samples {samples} is too few: give at least 1")
    config = rebuild_config(folder, given, MAY, _wants)
    collaboration = {"_target_": f"{Collaboration.__module__}.{Collaboration.__name__}"}
    asked = _read_question(folder, case, at)
    built = build(config.model_copy(update={"scenario": collaboration}), questions=asked)
    return _forked(built, folder, asked, samples)


@dataclass(frozen=True)
class _ForkQuestion:
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


def _read_question(folder: RunFolder, case: str, at: int) -> _ForkQuestion:
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
    return _ForkQuestion(questions[row["question"]], of, begin, row["rival"])


def _forked(built: Built, folder: RunFolder, asked: _ForkQuestion, samples: int) -> Built:
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
