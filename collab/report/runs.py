"""Overviews of many runs: a list with their states, and tables over the jobs of a sweep.

Only the runs' own files are read; nothing that a manifest names is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from collab.analysis.annotations import checked
from collab.core.trajectory import Json
from collab.errors import RunError
from collab.report.failure_table import went_wrong
from collab.report.formatting import PlainTable
from collab.report.tables import overall, summary
from collab.report.trajectory import safe
from collab.runs.enclosed import reading
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

KINDS = ("scenario._target_", "policy._target_")
"""The settings that jobs of one table must have in common."""
MODEL = re.compile(r"^(team\.[^.]+)\.(?!id$).+")
"""A setting of a seat other than its model."""
MODEL_ID = re.compile(r"^team\.([^.]+)\.id$")
"""The model of a seat: its column has the name of the seat."""


@dataclass(frozen=True)
class RunSummary:
    """One run, as stored in its folder."""

    folder: RunFolder

    @cached_property
    def manifest(self) -> Mapping[str, Json]:
        """The manifest."""
        return self.folder.manifest

    @cached_property
    def scores(self) -> Sequence[Score]:
        """The scores so far."""
        return list(self.folder.scores().values())

    @cached_property
    def settings(self) -> dict[str, Json]:
        """The settings that decide its numbers, by dotted key, without hashes of files."""
        decides = self.manifest["decides"]
        assert isinstance(decides, dict)
        derived = ("models", "asked", "code")
        return dict(_flat({k: v for k, v in decides.items() if k not in derived}))

    @cached_property
    def cells(self) -> Mapping[str, str]:
        """Its cells in a table of many runs."""
        return overall(self.scores)

    @classmethod
    def load(cls, path: Path) -> RunSummary:
        """Load a run's folder, and check that tables of many runs can be made from it.

        Raises:
            RunError: One of its files is damaged; the message names the file and the line.
        """
        with reading(path):
            job = cls(RunFolder(path))
            _ = job.settings, job.started, job.cells, job.state
            checked([job.folder])
        return job

    @property
    def started(self) -> str:
        """The time of its last start, to the minute."""
        starts = self.manifest["starts"]
        assert isinstance(starts, list)
        at = starts[-1].get("at", "") if starts else ""
        return str(at)[:16].replace("T", " ")

    @property
    def kind(self) -> tuple[str, str]:
        """The names of its scenario and its policy, such as `("Recoverability", "Distractor")`."""
        scenario, policy = (str(self.settings.get(key)).rpartition(".")[2] for key in KINDS)
        return scenario.removesuffix("Scenario"), policy

    @property
    def state(self) -> str:
        """Whether it is running, finished or stopped, or the error in it."""
        if self.folder.holder:
            return "running"
        status = self.folder.status
        if status is None or status.cases is None:
            return "stopped"
        if status.failures:
            return f"{len(status.failures)} failed"
        return "finished" if len(self.scores) >= status.cases else "stopped"

    @property
    def episodes(self) -> str:
        """The number of finished episodes, and of all if known."""
        done, status = len(self.scores), self.folder.status
        known = status is not None and status.cases not in (None, done)
        return f"{done} of {status.cases}" if status and known else str(done)


def jobs(path: Path) -> list[RunSummary]:
    """Find the runs at a path and below it, in the order of their names.

    Raises:
        RunError: The folder does not exist, holds no run, or a run is damaged.
    """
    return [RunSummary.load(folder) for folder in run_folders(path)]


def survey(path: Path) -> tuple[list[RunSummary], list[str]]:
    """Find the runs at a path and below it; describe each damaged one in a line.

    Raises:
        RunError: The folder does not exist, or holds no run.
    """
    sound: list[RunSummary] = []
    damaged: list[str] = []
    for folder in run_folders(path):
        try:
            sound.append(RunSummary.load(folder))
        except RunError as error:
            damaged.append(f"left out: {error}")
    return sound, damaged


def run_folders(path: Path) -> list[Path]:
    """Find the folders of runs at a path and below it, in the order of their names.

    Raises:
        RunError: The folder does not exist, or holds no run.
    """
    found = sorted(manifest.parent for manifest in path.rglob("manifest.json"))
    if not found:
        why = "holds no run" if path.is_dir() else "is not a folder"
        raise RunError(f"{str(path)!r} {why}; give a run's folder, or one with runs below it")
    return found


def listing(found: Iterable[RunSummary]) -> Table:
    """Return a table with one line per run, the last started first."""
    table = _table("run", "started", "state", "episodes", "% solved [95 % interval]")
    for job in sorted(found, key=lambda job: job.started, reverse=True):
        cells = job.started, job.state, job.episodes, _headline(job)
        table.add_row(Text(safe(str(job.folder.path))), *cells)
    return table


def runs_table(found: Sequence[RunSummary]) -> RenderableType:
    """Return a run's own tables; for many runs, a table per pair of scenario and policy."""
    if len(found) == 1:
        return _alone(found[0])
    wrong, notes = went_wrong(
        [job.folder for job in found], [s for job in found for s in job.scores]
    )
    return Group(*swept(found), *wrong, *(Text(safe(f"  {line}"), style="dim") for line in notes))


def swept(found: Sequence[RunSummary]) -> list[Table]:
    """Return a table per pair of scenario and policy."""
    ordered = sorted(found, key=lambda job: (job.kind[0] != "Recoverability", job.kind))
    alike = groupby(ordered, key=lambda job: job.kind)
    return [_swept(kind, list(group)) for kind, group in alike]


def _alone(job: RunSummary) -> RenderableType:
    status = job.folder.status
    if status is None:
        raise RunError(f"{str(job.folder.path)!r} was stopped before it began; start it again")
    shown = summary(status.title, status.by, job.scores, status.notes, status.published)
    wrong, notes = went_wrong([job.folder], job.scores)
    failures = [f"failed: {case}: {error}" for case, error in status.failures.items()]
    why = f": {status.stopped}" if status.stopped else ""
    state = safe(f"{job.state}, {job.episodes} episodes{why}")
    return Group(
        shown,
        *wrong,
        *(Text(safe(f"  {line}"), style="dim") for line in notes),
        *(Text(safe(line), style="red") for line in failures),
        Text(state),
    )


def _swept(kind: Sequence[str], found: Sequence[RunSummary]) -> Table:
    """Return a table of jobs: the settings in which they differ, then their results."""
    settings = _without_derived(_differing([job.settings for job in found]), found)
    found = sorted(found, key=lambda job: [_rank(job.settings.get(key)) for key in settings])
    cells = [job.cells for job in found]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    whole = all(job.state == "finished" for job in found)
    results = [name.partition(" to ")[0] for name in columns]
    heads = [*_short(settings), *([] if whole else ["state"]), *results, "run"]
    table = _table(*heads, title=f"{' · '.join(kind)}: % solved [95 % interval]")
    for job, row in zip(found, cells, strict=True):
        settings_row = [_show(job.settings.get(key)) for key in settings]
        states = [] if whole else [job.state]
        name = job.folder.path.name.rpartition("-")[2]
        cells_row = (row.get(column, "–") for column in columns)
        table.add_row(*settings_row, *states, *cells_row, Text(safe(name)))
    return table


def _headline(job: RunSummary) -> str:
    if not job.scores:
        return "–"
    cells = job.cells.items()
    rates = {name: cell for name, cell in cells if "[" in cell and "difference" not in name}
    return " · ".join(f"{name.removesuffix(' %')} {cell}" for name, cell in rates.items())


def _differing(settings: Sequence[Mapping[str, Json]]) -> list[str]:
    """Return the keys in which jobs differ, in their first order."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]


def _without_derived(keys: Sequence[str], found: Sequence[RunSummary]) -> list[str]:
    """Leave out the settings of a seat that follow from its model in all runs."""
    return [key for key in keys if not _follows(key, found)]


def _follows(key: str, found: Sequence[RunSummary]) -> bool:
    """Tell whether runs with the same model in a seat have the same value of a setting there."""
    model = MODEL.sub(r"\1.id", key)
    if model == key:
        return False
    pairs = {(repr(job.settings.get(model)), repr(job.settings.get(key))) for job in found}
    return len(pairs) == len({of for of, _ in pairs}) > 1


def _short(keys: Sequence[str]) -> list[str]:
    """Name a seat's model by the seat, and another key by its last part if no other shares it."""
    last = [MODEL_ID.sub(r"\1", key).rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def _rank(value: Json) -> tuple[object, ...]:
    """Return a sort key: numbers by size, lists by their items, the rest as text."""
    if isinstance(value, list):
        return ("list", [_rank(inner) for inner in value])
    if isinstance(value, int | float):
        return ("", value)
    return (type(value).__name__, str(value))


def _flat(value: Mapping[str, Json], before: str = "") -> Iterator[tuple[str, Json]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{before}{key}.")
        else:
            yield f"{before}{key}", inner


def _show(value: Json) -> Text:
    match value:
        case None:
            return Text("–")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:g}")
        case list():
            return Text(" ".join(str(_show(inner)) for inner in value))
        case _:
            return Text(safe(str(value)))


def _table(first: str, *columns: str, title: str = "") -> Table:
    table = PlainTable(title)
    for column in (first, *columns):
        table.head(column)
    return table
