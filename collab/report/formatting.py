"""Format table cells: rates and differences in %, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from collab.analysis.estimates import arm_of, effect_of, matched, share_of
from collab.analysis.stats import Effect, Mean, Rate
from collab.core.design import Label
from collab.report.trajectory import safe
from collab.scenarios.base import Score

CONTROLS = {
    "none": "no steer",
    "phrase": "phrase only",
    "placebo": "placebo",
    "forced": "answer forced",
}


def effects_of(group: Sequence[Score], scores: Sequence[Score]) -> dict[str, Effect]:
    """Compare a group with each control of the run."""
    return {arm: effect_of(matched(group, arm)) for arm in CONTROLS if arm_of(scores, arm)}


def twin_cells(
    group: Sequence[Score], effects: Mapping[str, Effect], marks: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the cells of a group: its steered arm, and two columns for each control."""
    steered = arm_of(group, "steer")
    cells = {"n": str(len(steered)), "steered": rate(steered)}
    for arm, effect in effects.items():
        cells[CONTROLS[arm]] = rate(arm_of(group, arm))
        cells[f"difference to {CONTROLS[arm]}"] = difference(effect, (marks or {}).get(arm, ""))
    return cells


class PlainTable(Table):
    """A table of untrusted texts: markup and control characters in them have no effect."""

    def __init__(self, title: str = "", title_style: str = "bold") -> None:
        shown = Text(safe(title), title_style) if title else None
        super().__init__(box=None, pad_edge=False, title=shown, title_justify="left")

    def head(self, name: str, *, right: bool = False) -> None:
        """Add a column that is never wrapped."""
        self.add_column(Text(safe(name)), justify="right" if right else "left", no_wrap=True)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:  # any: rich's own
        """Add a row; texts are shown literally."""
        shown = (Text(safe(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, **options)


def new_table(by: str, *columns: str, title: str) -> Table:
    """Return a table whose first column names the rows."""
    table = PlainTable(title, "dim")
    table.head(by)
    for column in columns:
        table.head(column, right=True)
    return table


def rate(scores: Sequence[Score]) -> str:
    """Format the share solved."""
    return cell(share_of(scores)) if scores else "–"


def cell(share: Rate | Mean) -> str:
    """Format a share with its interval."""
    return f"{100 * share.value:.0f} [{100 * share.low:.0f},{100 * share.high:.0f}]"


def difference(effect: Effect, mark: str = "") -> str:
    """Format a difference with its interval, in points."""
    if not effect.n:
        return "–"
    low, high = 100 * effect.low, 100 * effect.high
    return f"{100 * effect.value:+.0f}{mark} [{low:+.0f},{high:+.0f}]"


def odds(p: float | None) -> str:
    """Format a p value with three decimals."""
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else f"{p:.3f}"[1:] if p < 1 else "1"


def mean_of(values: Iterable[float]) -> str:
    """Format the mean of some numbers."""
    listed = list(values)
    return f"{mean(listed):.0f}" if listed else "–"


def show(name: Label) -> Text:
    """Format a label as text."""
    return Text(safe(f"{name:g}" if isinstance(name, float) else str(name)))
