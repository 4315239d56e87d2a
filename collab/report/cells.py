"""The cells of a table: rates and differences in %, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from rich.table import Table
from rich.text import Text

from collab.engine import Label
from collab.report.measured import arm_of, effect_of, matched, share_of
from collab.report.trajectory import safe
from collab.scenario import Score
from collab.stats import Effect, Mean, Rate

CONTROLS = {
    "none": "no steer",
    "phrase": "phrase alone",
    "placebo": "placebo",
    "forced": "answer forced",
}


def effects_of(group: Sequence[Score], scores: Sequence[Score]) -> dict[str, Effect]:
    """Compare a group with each control that the run has."""
    return {arm: effect_of(matched(group, arm)) for arm in CONTROLS if arm_of(scores, arm)}


def twin_cells(
    group: Sequence[Score], effects: Mapping[str, Effect], marks: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Show a group's arms, with two columns for each control that the run has."""
    steered = arm_of(group, "steer")
    cells = {"n": str(len(steered)), "steered": rate(steered)}
    for arm, effect in effects.items():
        cells[CONTROLS[arm]] = rate(arm_of(group, arm))
        cells[f"difference to {CONTROLS[arm]}"] = difference(effect, (marks or {}).get(arm, ""))
    return cells


def new_table(by: str, *columns: str, title: str) -> Table:
    """Begin a table whose first column names the rows."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="dim")
    table.add_column(by, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def rate(scores: Sequence[Score]) -> str:
    """Say what share of some cases is solved."""
    return cell(share_of(scores)) if scores else "–"


def cell(share: Rate | Mean) -> str:
    """Say a share with its interval."""
    return f"{100 * share.value:.0f} [{100 * share.low:.0f},{100 * share.high:.0f}]"


def difference(effect: Effect, mark: str = "") -> str:
    """Say a difference with its interval, in points."""
    if not effect.n:
        return "–"
    low, high = 100 * effect.low, 100 * effect.high
    return f"{100 * effect.value:+.0f}{mark} [{low:+.0f},{high:+.0f}]"


def odds(p: float | None) -> str:
    """Say a p value to three places."""
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else f"{p:.3f}"[1:] if p < 1 else "1"


def mean_of(values: Iterable[float]) -> str:
    """Say the mean of some numbers."""
    listed = list(values)
    return f"{mean(listed):.0f}" if listed else "–"


def show(name: Label) -> Text:
    """Say a label as text."""
    return Text(safe(f"{name:g}" if isinstance(name, float) else str(name)))
