"""Play the runs that a table of the paper shows, each with each model, unless they are played."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import yaml
from rich.console import Console

from collab.app.benchmark import solve_counts
from collab.app.compose import composed, team_configs
from collab.app.doctor import examine
from collab.app.overrides import CONF
from collab.app.run import PlayedRun, play_run, run_path
from collab.app.session import decides
from collab.errors import ConfigError
from collab.questions.cohort import Cohort
from collab.report.evidence import Trial
from collab.report.paper import RUNS, PaperRun
from collab.report.runs import RunSummary
from collab.runs.run_folder import RunFolder

POCKET, SCRIPTED = "pocket_", "scripted_"
SHIPPED = (POCKET, SCRIPTED)
"""The prefixes of the names of the shipped models, which are small."""


@dataclass
class Player:
    """Plays the runs of the paper, model by model, and reads their results."""

    console: Console
    models: Sequence[str]
    """The models to play; empty: those of the experiment's file."""
    overrides: Sequence[str]
    config_dirs: Sequence[str]
    trust: bool = False
    """Whether the conf folders may start programs, send, and read other files."""
    say: Callable[[str], None] = lambda line: None
    """Receives the name of each run that is played, and of each that is left out."""
    on_played: Callable[[PlayedRun], None] = lambda played: None
    """Receives each run that was played."""
    runs: Path = Path("runs")
    failures: int = 0
    """The number of cases that could not be played."""

    def trials(self, run: str) -> Iterator[Trial]:
        """Play a run with each of its models, and yield the result of each."""
        cohort: list[str] = []
        if RUNS[run].bench is not None:
            found = self._cohort(RUNS[run])
            if found is None:
                return
            cohort = [found]
        for model in self.models_of(RUNS[run]):
            yield Trial.of(self._play(RUNS[run], model, *cohort))

    def models_of(self, run: PaperRun) -> list[str]:
        """Return the models that play a run: of the shipped ones, those that were made for it."""
        if not self.models:
            return shipped(run.experiment)
        small = SCRIPTED if run.is_code else POCKET
        return [m for m in self.models if m.startswith(small) or not m.startswith(SHIPPED)]

    def trial(self, run: str, model: str) -> Trial:
        """Play a run with one model, on the run's own questions."""
        return Trial.of(self._play(RUNS[run], model))

    def _cohort(self, run: PaperRun) -> str | None:
        """Freeze the questions that all models solve equally often; None without any."""
        assert run.bench is not None
        peers = replace(run, experiment=run.peers or run.experiment)
        models = self.models_of(peers)
        benches = [solve_counts(self._play(RUNS[run.bench], model)) for model in models]
        if not benches:
            return None
        try:
            cohort = Cohort.of(benches, *run.solved)
        except ConfigError as error:
            self.say(f"left out: {run.experiment}: {error}")
            return None
        named = f"{run.bench}-{run.solved[0]}-{run.solved[1]}-{cohort.digest}.json"
        path = self.runs / "cohorts" / named
        cohort.write(path)
        return f"questions.cohort='{path}'"

    def _play(self, run: PaperRun, model: str, *more: str) -> RunSummary:
        """Play the missing episodes of a run with one model."""
        name, _, revision = model.partition("@")
        words = [f"experiment={run.experiment}", f"model@team.main={name}"]
        words += [f"team.main.revision={revision}"] if revision else []
        words += [*(run.full if self._is_full else ()), *more, *self.overrides]
        built = composed(words, self.config_dirs, trust=self.trust)
        self.runs = built.config.runs
        job = RunSummary(RunFolder(run_path(built, decides(built))))
        if (job.folder.path / "manifest.json").exists() and job.state == "finished":
            return job
        self.say(f"{run.experiment}: {model}")
        if model.startswith(SCRIPTED):
            self._examine(words)
        command = shlex.join(["collab", "run", *words])
        played = asyncio.run(play_run(built, command, self.console))
        self.on_played(played)
        self.failures += len(played.result.failures)
        return RunSummary(job.folder)

    def _examine(self, words: Sequence[str]) -> None:
        """Examine the scripted endpoint, as a run demands of any endpoint that takes text.

        Raises:
            ConfigError: The endpoint is broken.
        """
        profiles = asyncio.run(examine(team_configs(words, self.config_dirs, trust=self.trust)))
        if broken := [finding for profile in profiles for finding in profile.broken]:
            said = "; ".join(f"{finding.probe}: {finding.came}" for finding in broken)
            raise ConfigError(f"the scripted endpoint is broken: {said}")

    @property
    def _is_full(self) -> bool:
        """Whether a model was named that is not one of the shipped."""
        return any(not model.startswith(SHIPPED) for model in self.models)


def shipped(experiment: str) -> list[str]:
    """Return the models that an experiment's file sweeps over."""
    text = (files(CONF) / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    return str(params["model@team.main"]).split(",")
