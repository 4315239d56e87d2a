"""A run in Python: its scores and tables, tidy frames, and trajectories in colour.

import collab

run = collab.load("runs/demo/recoverability-distractor-…")
run.episodes()
run.trajectory("middle-…/steer")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self, get_args

from rich.console import Console, RenderableType
from rich.jupyter import JupyterMixin
from rich.table import Table

from collab.core.release import extra
from collab.core.trajectory import Trajectory
from collab.errors import ConfigError, RunError
from collab.report.episode_json import blocks
from collab.report.export import Cells, Columns, fill, readable
from collab.report.figure import Figure
from collab.report.run_json import figures
from collab.report.runs import RunSummary, runs_table
from collab.report.tables import overall, print_whole, tables
from collab.report.trajectory import remark, safe
from collab.runs.jsonl import Plain
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score

Library = Literal["polars", "pandas"]
KINDS = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}
"""The pandas types of columns with missing values."""
COLOURS = ("#0b62a6", "#a8430a", "#1a6e4a", "#8a2a78", "#6b5800", "#444b57")


def load(folder: str | Path) -> Run:
    """Load a run from its folder; the run may be unfinished.

    Raises:
        RunError: The folder holds no run.
    """
    return Run.open(folder)


@dataclass(frozen=True, repr=False)
class Run(JupyterMixin):
    """A run that was played, as its folder has it now. `print` shows its tables."""

    folder: RunFolder
    """The files of the run."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run's folder; the run may be unfinished.

        Raises:
            RunError: The folder holds no run.
        """
        folder = RunFolder(Path(path))
        _ = folder.manifest
        return cls(folder)

    @property
    def path(self) -> Path:
        """The path of the folder."""
        return self.folder.path

    @property
    def state(self) -> str:
        """The state of the run: running, finished, stopped, or how many cases failed."""
        return self._summary.state

    @property
    def status(self) -> RunStatus:
        """The title of the run, its number of cases, its notes and its failures.

        Raises:
            RunError: The run was stopped before it had a status.
        """
        status = self.folder.status
        if status is None:
            raise RunError(f"{str(self.path)!r} was stopped before it began; start it again")
        return status

    @property
    def scores(self) -> Sequence[Score]:
        """The scores of the finished episodes."""
        return list(self.folder.scores().values())

    @property
    def notes(self) -> Sequence[str]:
        """The remarks below the tables: on the cases, the recordings, the endpoints."""
        return self.status.notes

    @property
    def failures(self) -> Mapping[str, str]:
        """The error of each case, or question of a bank, that could not be played."""
        return self.status.failures

    @property
    def headline(self) -> Mapping[str, str]:
        """The result of the whole run: a cell by column, rates in % with 95 % intervals."""
        return overall(self.scores)

    @property
    def tables(self) -> Sequence[Table]:
        """The tables of the run, as Rich tables."""
        return tables(self.status.by, self.scores, self.status.published)

    @property
    def figures(self) -> Sequence[Figure]:
        """The figures of the run, as values."""
        return figures(self._summary)

    def plot(self, folder: str | Path | None = None) -> list[Path]:
        """Draw the figures as PNG and SVG, and return the files.

        Args:
            folder: The folder of the files; None: `figures` in the run's folder.

        Raises:
            ConfigError: matplotlib is not installed.
        """
        from collab.report.draw import draw

        where = Path(folder) if folder is not None else self.path / "figures"
        return [path for figure in self.figures for path in draw(figure, where)]

    def __rich__(self) -> RenderableType:
        """Return the tables with their notes."""
        return runs_table([self._summary])

    def __str__(self) -> str:
        """Return the tables with their notes, as plain text."""
        console = Console(color_system=None, force_jupyter=False, width=100)
        with console.capture() as text:
            print_whole(console, self)
        return text.get().rstrip("\n")

    def __repr__(self) -> str:
        """Return the folder and the state of the run."""
        summary = self._summary
        return f"<Run {str(self.path)!r}: {summary.state}, {summary.episodes} episodes>"

    @property
    def _summary(self) -> RunSummary:
        return RunSummary(self.folder)

    def trajectories(self) -> Iterator[tuple[str, Trajectory]]:
        """Yield the case and the trajectory of each finished episode."""
        for episode, _ in self.folder.episodes():
            yield episode.case, episode.trajectory

    def episodes(self, library: Library | None = None) -> Any:  # any: a frame of either library
        """Return a row per episode: its case, question, verdict, tokens, factors and labels.

        Args:
            library: The library of the frame; None: polars if installed, else pandas.

        Raises:
            ConfigError: Neither is installed.
        """
        return self._frame("episodes", library)

    def units(self, library: Library | None = None) -> Any:  # any: as above
        """Return a row per final unit: its author, kind, reason, tokens and text."""
        return self._frame("units", library)

    def costs(self, library: Library | None = None) -> Any:  # any: as above
        """Return a row per draw of a seat, with its cost when it was sampled."""
        return self._frame("costs", library)

    def trajectory(self, case: str) -> Trajectory:
        """Return the trajectory of a case, which notebooks show in colour.

        Raises:
            RunError: There is no such episode.
        """
        return self.folder.episode(case)[0].trajectory

    def _frame(self, name: str, library: Library | None) -> Any:  # any: a frame of either library
        kept: dict[str, _Rows] = {}

        def table(name: str, columns: Columns) -> _Rows:
            kept[name] = _Rows(columns)
            return kept[name]

        for _ in fill(self.folder, table):
            pass
        return kept[name].frame(_library(library))


@dataclass
class _Rows:
    """A table in memory."""

    columns: Columns
    rows: list[Cells] = field(default_factory=list)

    def add(self, row: Cells) -> None:
        self.rows.append({name: readable(cell) for name, cell in row.items()})

    def close(self) -> None:
        """Do nothing."""

    def frame(self, library: Library) -> Any:  # any: a frame of either library
        if library == "polars":
            import polars

            return polars.DataFrame(self.rows, schema=dict(self.columns))
        import pandas

        cells = {name: [row[name] for row in self.rows] for name in self.columns}
        kinds = {name: KINDS[kind] for name, kind in self.columns.items()}
        return pandas.DataFrame(cells).astype(kinds)


def _library(wanted: Library | None) -> Library:
    for name in (wanted,) if wanted else get_args(Library):
        if find_spec(name):
            found: Library = name
            return found
    raise ConfigError(f"frames need {wanted or 'polars or pandas'}: {extra('notebook')}")


def html(trajectory: Trajectory) -> str:
    """Return a trajectory as HTML, with a colour per author and all text escaped."""
    shown = blocks(trajectory.log)
    colours = _colours(shown, {})
    return (
        "<div style='max-width:48rem'>" + "".join(_block(one, colours) for one in shown) + "</div>"
    )


def _block(block: Plain, colours: dict[str, str]) -> str:
    if block["is"] != "unit":
        inner = "".join(
            f"<div style='margin-left:2em'>{''.join(_block(one, colours) for one in of['blocks'])}"
            "</div>"
            for of in block.get("branches", ())
        )
        return f"<p style='opacity:.75;font-style:italic'>{_text(remark(block))}</p>{inner}"
    colour = colours[block["author"]]
    about = " · ".join(filter(None, (block["phase"], block["kind"], block["why"])))
    fate = f" · struck: {block['struck']}" if "struck" in block else ""
    line = ";text-decoration:line-through;opacity:.6" if "struck" in block else ""
    return (
        f"<div style='border-left:4px solid {colour};padding:.2em .7em;margin:.4em 0'>"
        f"<b style='color:{colour}'>{_text(block['author'])}</b> "
        f"<small>{_text(about + fate)} · {block['tokens']} tokens</small>"
        f"<div style='white-space:pre-wrap;unicode-bidi:isolate{line}'>"
        f"{_text(block['text'].strip())}</div></div>"
    )


def _colours(shown: list[Plain], found: dict[str, str]) -> dict[str, str]:
    for block in shown:
        if block["is"] == "unit":
            found.setdefault(block["author"], COLOURS[len(found) % len(COLOURS)])
        for branch in block.get("branches", ()):
            _colours(branch["blocks"], found)
    return found


def _text(text: str) -> str:
    return escape(safe(text))
