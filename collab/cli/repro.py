"""`collab repro 6`, `collab repro figure 4`: a table or figure of the paper, of runs of your own.

Picks the runs that it is a view of, plays what of them is not played yet, prints it, and says of
each claim that the paper reads from it whether these runs bear it out. Small on the shipped
reasoners; with --models the paper's questions, budget and sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collab.cli import doctor
from collab.cli.cohort import bench_of
from collab.cli.compose import CONF, composed
from collab.cli.run import place, play
from collab.cli.session import decides
from collab.config import Built
from collab.endpoints.owner import owning
from collab.errors import ConfigError
from collab.folder import RunFolder
from collab.questions.cohort import Cohort
from collab.report.claims import CLAIMS, Claim, claims_of
from collab.report.evidence import Evidence, Trial
from collab.report.paper import FIGURES, RUNS, TABLES, Run, runs_of
from collab.report.paper_tables import NOTE, paper_tables, recovery_figure
from collab.report.runs import Job
from collab.report.tables import print_whole
from collab.report.trajectory import safe

SCRIPTED = "scripted_"
SHIPPED = ("pocket_", SCRIPTED)
"""What the names of models begin with that are small by nature."""
COLOURS = {"true": "green", "false": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class Wanted:
    """One table or figure."""

    kind: str
    number: int

    @classmethod
    def read(cls, words: Sequence[str]) -> Wanted:
        """Read `6`, `table 6` or `figure4`.

        Raises:
            ConfigError: There is no such table or figure.
        """
        said = " ".join(words)
        found = re.fullmatch(r"(?:(table|figure)\s*)?(\d+)", said.strip().lower())
        kind, number = (found[1] or "table", int(found[2])) if found else ("", 0)
        if number not in {"table": TABLES, "figure": FIGURES}.get(kind, ()):
            tables = ", ".join(map(str, TABLES))
            raise ConfigError(
                f"{said!r} is none of the paper's that runs can make (tables: {tables}; figure "
                f"{', '.join(map(str, FIGURES))}); collab repro --list says what each shows"
            )
        return cls(kind, number)

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.kind} {self.number}"

    @property
    def claims(self) -> list[Claim]:
        """What the paper reads from it."""
        return list(claims_of(self.name))

    @property
    def runs(self) -> list[str]:
        """The runs that it and its claims need, those before that others need."""
        own = [FIGURES[self.number]] if self.kind == "figure" else runs_of(self.number)
        needed = [*own, *(run for claim in self.claims for run in claim.runs)]
        benches = [bench for run in needed if (bench := RUNS[run].bench)]
        return list(dict.fromkeys([*benches, *needed]))


def main(argv: list[str]) -> int:
    """Play what is owed, then print the table and the verdicts."""
    words = _parser().parse_intermixed_args(argv)
    console = Console()
    if words.list:
        print_whole(console, _listing())
        return 0
    overrides = [word for word in words.wanted if "=" in word]
    wanted = Wanted.read([word for word in words.wanted if "=" not in word])
    models = [name for name in (words.models or "").split(",") if name]
    player = _Player(console, models, overrides, words.config_dir)
    with owning():
        evidence = {run: list(player.trials(run)) for run in wanted.runs}
    console.print()
    _tell(wanted, evidence, console)
    if wanted.kind == "figure":
        for path in _drawn(evidence[FIGURES[wanted.number]], player.runs):
            console.print(f"figure: {path}", markup=False, highlight=False, soft_wrap=True)
    return 1 if player.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="collab repro", description=__doc__)
    parser.add_argument(
        "wanted",
        nargs="*",
        metavar="TABLE|FIGURE|KEY=VALUE",
        help="6, table 6 or figure 4; KEY=VALUE changes the config of all its runs",
    )
    parser.add_argument("--list", action="store_true", help="what there is, and the runs it needs")
    parser.add_argument(
        "--models",
        metavar="NAME,…",
        help="files of conf/model to play instead of the shipped ones; with others than those, the "
        "runs have the paper's questions, budget and sizes",
    )
    parser.add_argument(
        "-cd",
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with conf files of your own (repeatable)",
    )
    return parser


@dataclass
class _Player:
    """Plays runs, model by model, and reads what they came to."""

    console: Console
    models: Sequence[str]
    """What was asked for; empty: those of the experiment's file."""
    overrides: Sequence[str]
    config_dirs: Sequence[str]
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
        for model in self._models(RUNS[run]):
            yield Trial.of(self._job(RUNS[run], model, *cohort))

    def _models(self, run: Run) -> list[str]:
        """Return whom a run is played with."""
        return list(self.models) or shipped(run.experiment)

    def _cohort(self, run: Run) -> str | None:
        """Freeze the questions that the run's models solve alike; None where there are none."""
        assert run.bench is not None
        benches = [bench_of(self._job(RUNS[run.bench], model)) for model in self._models(run)]
        try:
            cohort = Cohort.of(benches, *run.solved)
        except ConfigError as error:
            self.console.print(f"left out: {run.experiment}: {safe(str(error))}", markup=False)
            return None
        named = f"{run.bench}-{run.solved[0]}-{run.solved[1]}-{cohort.digest}.json"
        path = self.runs / "cohorts" / named
        cohort.write(path)
        return f"questions.cohort='{path}'"

    def _job(self, run: Run, model: str, *more: str) -> Job:
        """Play one model's part, or what of it is owed."""
        words = [f"experiment={run.experiment}", f"model@team.main={model}"]
        words += [*(run.full if self._is_full else ()), *more, *self.overrides]
        built = composed(words, self.config_dirs)
        self.runs = built.config.runs
        job = _there(built)
        if job is None:
            self.console.print(Text(safe(f"{run.experiment}: {model}"), style="bold"))
            if model.startswith(SCRIPTED):
                _examine([*words], self.config_dirs)
            command = shlex.join(["collab", "run", *words])
            self.failures += asyncio.run(play(built, command, self.console, tables=False))
            job = _there(built) or Job(RunFolder(place(built, decides(built))))
        return job

    @property
    def _is_full(self) -> bool:
        """Whether a model was named that is not one of the shipped."""
        return any(not model.startswith(SHIPPED) for model in self.models)


def _examine(words: Sequence[str], config_dirs: Sequence[str]) -> None:
    """Look at the scripted coders' endpoint first, as a run demands of any that takes text.

    Raises:
        ConfigError: Something is broken there.
    """
    said = io.StringIO()
    folders = [word for folder in config_dirs for word in ("-cd", folder)]
    with redirect_stdout(said):
        status = doctor.main([*words, *folders])
    if status:
        raise ConfigError(f"the scripted endpoint is broken: {said.getvalue()}")


def _there(built: Built) -> Job | None:
    """Return a run that is finished already."""
    path = place(built, decides(built))
    if not (path / "manifest.json").exists():
        return None
    job = Job(RunFolder(path))
    return job if job.state == "finished" else None


def shipped(experiment: str) -> list[str]:
    """Return the models that an experiment's file sweeps over."""
    text = (files(CONF) / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    return str(params["model@team.main"]).split(",")


def _tell(wanted: Wanted, evidence: Evidence, console: Console) -> None:
    """Print the table and what becomes of its claims."""
    if wanted.kind == "table":
        for table in paper_tables(wanted.number, evidence):
            print_whole(console, table)
            console.print()
        console.print(NOTE, style="dim", soft_wrap=True)
    if not wanted.claims:
        console.print(f"The paper makes no claim from {wanted.name} alone.", soft_wrap=True)
    for claim in wanted.claims:
        told(claim, evidence, console)


def told(claim: Claim, evidence: Evidence, console: Console) -> None:
    """Print one claim and its verdict."""
    found = claim.finding(evidence)
    verdict = Text(f"{found.verdict:9} ", style=COLOURS[found.verdict])
    console.print(verdict + Text(safe(claim.words)), soft_wrap=True)
    where = f"{claim.section}; {claim.scope}"
    console.print(Text(f"          paper ({where}): {claim.printed}", style="dim"), soft_wrap=True)
    console.print(Text(safe(f"          ours: {found.said}")), soft_wrap=True)


def _drawn(trials: Sequence[Trial], runs: Path) -> list[Path]:
    from collab.report.draw import draw

    return draw(recovery_figure(trials), runs / "figures")


def _listing() -> Table:
    """List the tables and figures with their runs and claims."""
    table = Table(box=None, pad_edge=False)
    for head in ("collab repro", "runs (conf/experiment)", "claims"):
        table.add_column(head, no_wrap=True)
    names = [f"table {n}" for n in TABLES] + [f"figure {n}" for n in FIGURES]
    for name in names:
        wanted = Wanted.read([name])
        claims = str(sum(name in claim.shown for claim in CLAIMS))
        table.add_row(name.removeprefix("table "), ", ".join(wanted.runs), claims)
    return table
