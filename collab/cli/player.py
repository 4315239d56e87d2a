"""Playing what a table of the paper needs: each run with each model, where it is not there yet."""

from __future__ import annotations

import asyncio
import io
import shlex
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from collab.app.compose import composed
from collab.app.overrides import CONF
from collab.app.session import decides
from collab.cli import doctor
from collab.cli.cohort import bench_of
from collab.cli.run import place, play
from collab.errors import ConfigError
from collab.questions.cohort import Cohort
from collab.report.evidence import Trial
from collab.report.paper import RUNS, PaperRun
from collab.report.runs import RunSummary
from collab.report.trajectory import safe
from collab.runs.run_folder import RunFolder

POCKET, SCRIPTED = "pocket_", "scripted_"
SHIPPED = (POCKET, SCRIPTED)
"""What the names of models begin with that are small by nature."""


@dataclass
class Player:
    """Plays runs, model by model, and reads what they came to."""

    console: Console
    models: Sequence[str]
    """What was asked for; empty: those of the experiment's file."""
    overrides: Sequence[str]
    config_dirs: Sequence[str]
    trust: bool = False
    """Whether conf folders may do what they want."""
    runs: Path = Path("runs")
    failures: int = 0

    def trials(self, run: str) -> Iterator[Trial]:
        """Play a run with each of its models, and yield what each came to."""
        cohort: list[str] = []
        if RUNS[run].bench is not None:
            found = self._cohort(RUNS[run])
            if found is None:
                return
            cohort = [found]
        for model in self.models_of(RUNS[run]):
            yield Trial.of(self._job(RUNS[run], model, *cohort))

    def models_of(self, run: PaperRun) -> list[str]:
        """Return whom a run is played with: of the shipped, those that were made for it."""
        if not self.models:
            return shipped(run.experiment)
        small = SCRIPTED if run.is_code else POCKET
        return [m for m in self.models if m.startswith(small) or not m.startswith(SHIPPED)]

    def _cohort(self, run: PaperRun) -> str | None:
        """Freeze the questions that the run's models solve alike; None where there are none."""
        assert run.bench is not None
        peers = replace(run, experiment=run.peers or run.experiment)
        benches = [bench_of(self._job(RUNS[run.bench], model)) for model in self.models_of(peers)]
        if not benches:
            return None
        try:
            cohort = Cohort.of(benches, *run.solved)
        except ConfigError as error:
            self.console.print(f"left out: {run.experiment}: {safe(str(error))}", markup=False)
            return None
        named = f"{run.bench}-{run.solved[0]}-{run.solved[1]}-{cohort.digest}.json"
        path = self.runs / "cohorts" / named
        cohort.write(path)
        return f"questions.cohort='{path}'"

    def trial(self, run: str, model: str) -> Trial:
        """Play one model's part in a run, on its own questions."""
        return Trial.of(self._job(RUNS[run], model))

    def _job(self, run: PaperRun, model: str, *more: str) -> RunSummary:
        """Play one model's part, or what of it is owed."""
        name, _, revision = model.partition("@")
        words = [f"experiment={run.experiment}", f"model@team.main={name}"]
        words += [f"team.main.revision={revision}"] if revision else []
        words += [*(run.full if self._is_full else ()), *more, *self.overrides]
        built = composed(words, self.config_dirs, trust=self.trust)
        self.runs = built.config.runs
        job = RunSummary(RunFolder(place(built, decides(built))))
        if (job.folder.path / "manifest.json").exists() and job.state == "finished":
            return job
        self.console.print(Text(safe(f"{run.experiment}: {model}"), style="bold"))
        if model.startswith(SCRIPTED):
            _examine(words, self.config_dirs, trust=self.trust)
        command = shlex.join(["collab", "run", *words])
        self.failures += asyncio.run(play(built, command, self.console, tables=False))
        return RunSummary(job.folder)

    @property
    def _is_full(self) -> bool:
        """Whether a model was named that is not one of the shipped."""
        return any(not model.startswith(SHIPPED) for model in self.models)


def _examine(words: Sequence[str], config_dirs: Sequence[str], *, trust: bool) -> None:
    """Look at the scripted coders' endpoint first, as a run demands of any that takes text.

    Raises:
        ConfigError: Something is broken there.
    """
    said = io.StringIO()
    folders = [word for folder in config_dirs for word in ("-cd", folder)]
    folders += ["--trust"] if trust else []
    with redirect_stdout(said):
        status = doctor.main([*words, *folders])
    if status:
        raise ConfigError(f"the scripted endpoint is broken: {said.getvalue()}")


def shipped(experiment: str) -> list[str]:
    """Return the models that an experiment's file sweeps over."""
    text = (files(CONF) / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    return str(params["model@team.main"]).split(",")
