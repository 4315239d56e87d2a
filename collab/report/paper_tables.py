"""The paper's tables and figure 4, made from your own runs.

Every rate has its interval and, if its run has one, its control. Published numbers of the same
model are below ours, with a test of the difference at the published n.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from collab.analysis.estimates import (
    ALPHA,
    common_standard,
    effect_of,
    matched,
    share_of,
    significant,
)
from collab.analysis.published import Published, published
from collab.analysis.stats import Effect, Mean
from collab.report.evidence import MEAN, Evidence, Trial
from collab.report.figure import Figure, Point, Series, printed_points
from collab.report.paper import COUNTED, COUNTED_RUN, ColumnGroup, PaperTable, views
from collab.report.trajectory import safe

NOTE = f"* p < {ALPHA:g} after Holm's correction (one family per column of tests, or published row)"
BENCHMARKS: Mapping[str, str] = {
    "aime_2024": "AIME 24",
    "aime_2025": "AIME 25",
    "math_500": "MATH-500",
    "minerva_math": "Minerva",
    "olympiadbench": "Olympiad",
    "humaneval": "HumanEval",
    "humaneval_plus": "HumanEval+",
    "mbpp": "MBPP",
    "mbpp_plus": "MBPP+",
}
"""The paper's names of the benchmarks."""


def paper_tables(number: int, evidence: Evidence) -> list[Table]:
    """Return one of the paper's tables, from your own runs."""
    if number == COUNTED:
        return [_counts(views(number)[0], evidence.get(COUNTED_RUN, ()))]
    return [_table(view, evidence) for view in views(number)]


def recovery_figure(trials: Sequence[Trial]) -> Figure:
    """Plot each model's recoverability by insertion point (figure 4)."""
    part = ColumnGroup("", "recoverability", "at")
    series = []
    for trial in trials:
        cells = {level: m for level, m in part.cells(trial).items() if level != MEAN}
        points = [
            Point(float(level), 100 * m.value, 100 * m.low, 100 * m.high, m.n)
            for level, m in cells.items()
        ]
        series.append(Series(trial.model, points))
        if trial.printed:
            series.append(Series(f"published, {trial.model}", printed_points("at", trial.model)))
    x = "insertion point (share of the original trajectory)"
    return Figure("figure-4", "Recoverability by insertion point (ours)", x, "% solved", series)


def _table(view: PaperTable, evidence: Evidence) -> Table:
    """Return a table: a row per model, and below it the published numbers, if any."""
    columns = _columns(view, evidence)
    extra = _Extra.of(view, evidence)
    heads = [*(head for _, _, head in columns), *extra.heads, *_control_heads(view)]
    table = _empty(view, ["model", *heads])
    rows = list(_rows(view, evidence))
    effects = [_control_effect(view, evidence, model) for model in rows]
    marks = iter(significant([effect for effect in effects if effect]))
    for model, effect in zip(rows, effects, strict=True):
        cells = {
            (part.run, part.measure): part.cells(trial)
            for part in view.parts
            for trial in evidence.get(part.run, ())
            if trial.model == model
        }
        ours = [cells.get((part.run, part.measure), {}).get(level) for part, level, _ in columns]
        control = [effect_cell(effect, next(marks))] if effect else []
        shown = map(share_cell, [*ours, *extra.cells(model)])
        table.add_row(Text(safe(model)), *shown, *control)
        if _is_printed(view, evidence, model):
            _add_printed(table, view, model, columns, ours)
    return table


@dataclass(frozen=True)
class _Extra:
    """Columns that the paper lacks: the micro average, and weights by equal solve counts."""

    part: ColumnGroup
    trials: Mapping[str, Trial]
    standard: Mapping[Hashable, float]
    """The number of cases for each solve count that all models have; empty: no such column."""

    @classmethod
    def of(cls, view: PaperTable, evidence: Evidence) -> _Extra:
        part = view.parts[0]
        trials = {t.model: t for t in evidence.get(part.run, ()) if part.pick(t)}
        if len(view.parts) > 1:
            return cls(part, {}, {})
        own = part.subset == "individual" and part.by == "at"
        return cls(part, trials, common_standard(map(part.pick, trials.values())) if own else {})

    @property
    def heads(self) -> list[str]:
        """The headings of the columns."""
        heads = ["micro average"] if self.trials else []
        return [*heads, "at equal solve counts"] if self.standard else heads

    def cells(self, model: str) -> list[Mean | None]:
        """Return a model's numbers."""
        if not self.trials:
            return []
        picked = self.part.pick(self.trials[model])
        cells: list[Mean | None] = [share_of(picked)]
        if self.standard:
            cells.append(share_of(picked, "solved", self.standard))
        return cells


def _empty(view: PaperTable, heads: Sequence[str]) -> Table:
    subset = ", ".join(dict.fromkeys(part.subset for part in view.parts if part.subset))
    scope = " · ".join(filter(None, (view.domain, subset)))
    title = f"Table {view.table} ({view.section}), ours: {view.title} ({scope}); % [95 % interval]"
    return headed(title, *heads)


def headed(title: str, *heads: str) -> Table:
    """Return an empty table."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for nth, head in enumerate(heads):
        table.add_column(head, justify="right" if nth else "left", no_wrap=True)
    return table


Column = tuple[ColumnGroup, str, str]
"""A group of columns, a level in it, and the heading."""


def _columns(view: PaperTable, evidence: Evidence) -> list[Column]:
    columns = []
    for part in view.parts:
        levels: dict[str, None] = {}
        for trial in evidence.get(part.run, ()):
            levels |= dict.fromkeys(part.cells(trial))
        levels.pop(part.whole, None)
        short = part.measure if len(view.parts) > 1 and part.each else ""
        for level in (*levels, part.whole):
            named = level if level != MEAN or not part.head else part.head
            columns.append((part, level, " ".join(filter(None, (short, named)))))
    return columns


def _rows(view: PaperTable, evidence: Evidence) -> Iterator[str]:
    models = dict.fromkeys(
        trial.model for run in view.runs for trial in evidence.get(run, ()) if trial.scores
    )
    yield from models


def _control_heads(view: PaperTable) -> list[str]:
    return ["difference from no steer"] if _controlled(view) else []


def _controlled(view: PaperTable) -> bool:
    """Return whether the table is of one run with a control."""
    return len(view.runs) == 1 and not view.runs[0].startswith("solo")


def _control_effect(view: PaperTable, evidence: Evidence, model: str) -> Effect | None:
    if not _controlled(view):
        return None
    (trial,) = (t for t in evidence[view.runs[0]] if t.model == model)
    return effect_of(matched(trial.scores, "none"))


def _is_printed(view: PaperTable, evidence: Evidence, model: str) -> bool:
    return any(t.printed for run in view.runs for t in evidence.get(run, ()) if t.model == model)


def _add_printed(
    table: Table,
    view: PaperTable,
    model: str,
    columns: Sequence[Column],
    ours: Sequence[Mean | None],
) -> None:
    """Add the published numbers, and the test of ours against them."""
    printed = [_printed(view, part, model, level) for part, level, _ in columns]
    compared = [
        one.compared(mean) if one and mean else None
        for one, mean in zip(printed, ours, strict=True)
    ]
    marks = iter(significant([effect for effect in compared if effect]))
    table.add_row("  published", *(f"{one.value:g}" if one else "" for one in printed))
    cells = [effect_cell(effect, next(marks)) if effect else "" for effect in compared]
    table.add_row("  ours - published", *cells)


def _printed(view: PaperTable, part: ColumnGroup, model: str, level: str) -> Published | None:
    where = view.domain, part.subset, BENCHMARKS.get(level, level)
    found = [
        one
        for one in published(view.table, model=model, measure=part.measure)
        if (one.domain, one.subset, one.level) == where
    ]
    return found[0] if found else None


def _counts(view: PaperTable, trials: Sequence[Trial]) -> Table:
    """Count the problems and trajectories of each guide (Table 13)."""
    guides = list(
        dict.fromkeys(
            trial.level("guide", score.design.guide)
            for trial in trials
            for score in trial.arm("steer")
        )
    )
    heads = [f"{what} of {guide}" for what in ("problems", "trajectories") for guide in guides]
    table = _empty(view, ["model", *heads])
    table.title = str(table.title).removesuffix("; % [95 % interval]")
    for trial in trials:
        problems, traces = _counted(trial)
        counts = [
            *(problems[guide] for guide in guides),
            *(traces[guide] or "–" for guide in guides),
        ]
        table.add_row(Text(safe(trial.model)), *map(str, counts))
    return table


def _counted(trial: Trial) -> tuple[Counter[str], Counter[str]]:
    """Count the distinct problems and trajectories of each guide."""
    problems: set[tuple[str, str]] = set()
    traces: set[tuple[str, str, int]] = set()
    for score in trial.arm("steer"):
        guide = trial.level("guide", score.design.guide)
        problems.add((guide, score.question))
        if score.design.trace is not None:  # stored by an earlier version
            traces.add((guide, score.question, score.design.trace))
    return Counter(guide for guide, _ in problems), Counter(guide for guide, *_ in traces)


def share_cell(mean: Mean | None) -> str:
    """Format a share in per cent with its interval."""
    if mean is None or not mean.n:
        return "–"
    return f"{100 * mean.value:.1f} [{100 * mean.low:.0f},{100 * mean.high:.0f}]"


def effect_cell(effect: Effect, marked: bool) -> str:
    """Format a difference in points with its interval, with a star if it is significant."""
    if not effect.n:
        return "–"
    star = "*" if marked else ""
    return f"{100 * effect.value:+.1f}{star} [{100 * effect.low:+.0f},{100 * effect.high:+.0f}]"
