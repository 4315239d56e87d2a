"""The values of figures, which the page and matplotlib draw alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from collab.analysis.estimates import share_of
from collab.analysis.published import published
from collab.analysis.stats import Rate
from collab.core.design import Label
from collab.report.collaboration import Arm, currency, titles
from collab.report.formatting import CONTROLS
from collab.report.tables import rows_of
from collab.scenarios.base import Score
from collab.scenarios.collaboration import TOGETHER

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
ARMS = {"steer": "steered", TOGETHER: TOGETHER, **CONTROLS}
FACTORS = {
    "at": "insertion point (share of the original trajectory)",
    "length": "share of the guide's trajectory",
    "level": "level of the questions",
}

TITLES = {
    "at": "Recoverability by insertion point",
    "length": "Guidability by share of the guide's trajectory",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One measured share with its 95 % interval (all in per cent)."""

    x: float | str
    y: float
    low: float
    high: float
    n: int
    name: str = ""
    """The name of a single point."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of points."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    """Whether a line connects them."""
    marked: bool = True
    """Whether to show marks and intervals, besides the line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure."""

    key: str
    """The name of its file."""
    title: str
    x: str
    y: str
    series: Sequence[Series]

    @property
    def alt(self) -> str:
        """Describe the figure in words."""
        parts = []
        for one in self.series:
            points = ", ".join(f"{p.name or _plain(p.x)}: {p.y:.0f} %" for p in one.points)
            parts.append(f"{one.name} ({points})")
        return f"{self.title}. {self.y} by {self.x}: " + "; ".join(parts)


def recovery_by_point(by: str, scores: Sequence[Score], model: str = "") -> Figure:
    """Plot the share solved at each point or share, for the steered arm and its controls.

    Args:
        by: The factor on the x axis.
        scores: The scores of one run.
        model: Also plot the published numbers of this model, if there are any.
    """
    arms = {arm: name for arm, name in ARMS.items() if _of(scores, arm)} or {"": "solved"}
    groups = [(name, group) for name, group in rows_of(by, scores) if name != "all"]
    groups.sort(key=lambda one: one[0] if isinstance(one[0], float | int) else 0)
    series = [
        Series(name, [_point(value, hits) for value, group in groups if (hits := _of(group, arm))])
        for arm, name in arms.items()
    ]
    if printed := printed_points(by, model):
        series.append(Series(f"published, {model}", printed))
    title = TITLES.get(by, f"Solved by {by}")
    return Figure(f"solved-by-{by}", title, FACTORS.get(by, by), "% solved", series)


def curves_of_models(by: str, runs: Mapping[str, Sequence[Score]]) -> Figure:
    """Plot the share solved with the steer and without, for the models of several runs.

    Args:
        by: The factor on the x axis.
        runs: The scores of each run, by its model.
    """
    curves = [
        replace(series, name=f"{model.rpartition('/')[2]}, {series.name}")
        for model, scores in runs.items()
        for series in recovery_by_point(by, scores).series
        if series.name in (ARMS["steer"], ARMS["none"])
    ]
    return Figure(f"models-by-{by}", TITLES[by], FACTORS[by], "% solved", curves)


def accuracy_against_cost(groups: Mapping[str, Sequence[Score]]) -> Figure:
    """Plot the share solved of each group against the tokens that it samples."""
    points = [
        _point(sum(s.tokens for s in scores) / len(scores), scores, name)
        for name, scores in groups.items()
        if scores
    ]
    return Figure(
        "accuracy-against-cost",
        "Accuracy against cost",
        "tokens sampled per episode (mean)",
        "% solved",
        [Series(point.name, [point], joined=False) for point in points],
    )


def pareto(arms: Sequence[Arm]) -> Figure:
    """Plot accuracy against cost for each arm of a collaboration, with the Pareto front.

    A seat alone has a second point for the majority of its answers, connected by a line.
    """
    taken, unit = currency(arms)
    sizes = [arm.size(taken) for arm in arms]
    scale, prefix = _scale(max(sizes))
    named = zip(arms, sizes, titles(arms), strict=True)
    spots = [(arm, _spot(arm, float(f"{size / scale:.4g}"), name)) for arm, size, name in named]
    by: dict[str, list[Point]] = {}
    for arm, point in spots:
        by.setdefault(arm.name, []).append(point)
    series = [Series(name, points, joined=len(points) > 1) for name, points in by.items()]
    best = Series("Pareto front", _frontier([p for _, p in spots]), marked=False)
    x = f"{prefix}{unit} per episode"
    return Figure("pareto", "Accuracy against cost", x, "% solved", [best, *series])


def _scale(size: float) -> tuple[float, str]:
    """Return a power of 1000 that makes a size readable, and its prefix."""
    thousands = min(max(int(math.log10(size or 1) // 3), 0), len(PREFIXES) - 1)
    return 1000.0**thousands, PREFIXES[thousands]


def _spot(arm: Arm, x: float, name: str) -> Point:
    rate = arm.rate
    label = name if arm.votes > 1 else ""
    return Point(x, 100 * rate.value, 100 * rate.low, 100 * rate.high, rate.n, label)


def _frontier(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front, from the cheapest point on."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not best or point.y > best[-1].y:
            best.append(replace(point, low=point.y, high=point.y, name=""))
    return best


def arms_of(scores: Sequence[Score]) -> dict[str, Sequence[Score]]:
    """Group a run's scores by arm; a run without arms is one group."""
    found = {name: _of(scores, arm) for arm, name in ARMS.items()}
    return {name: group for name, group in found.items() if group} or {"solved": scores}


def recoverability_against_benchmark(
    models: Mapping[str, tuple[Sequence[Score], Sequence[Score]]],
) -> Figure:
    """Plot each model's recoverability against its solo accuracy.

    Args:
        models: By name: its solo scores, and its steered scores.
    """
    series = []
    for name, (alone, steered) in models.items():
        benchmark = 100 * sum(s.correct for s in alone) / len(alone)
        series.append(Series(name, [_point(benchmark, steered, name)], joined=False))
    return Figure(
        "recoverability-against-benchmark",
        "Recoverability against benchmark",
        "% solved alone",
        "% solved after the steer",
        series,
    )


def checkpoint_panel(name: str, checkpoints: Mapping[str, Sequence[Score]]) -> Figure:
    """Plot one model's checkpoints in their order: a panel of the paper's checkpoint figure."""
    arms = [arm for arm in ARMS if any(_of(of, arm) for of in checkpoints.values())] or [""]
    series = [
        Series(
            ARMS.get(arm, "solved"),
            [_point(at, hits) for at, of in checkpoints.items() if (hits := _of(of, arm))],
        )
        for arm in arms
    ]
    return Figure(f"checkpoints-{name}", name, "checkpoint", "% solved", series)


def _of(scores: Iterable[Score], arm: str) -> list[Score]:
    return [score for score in scores if not arm or score.design.arm == arm]


def _point(x: Label, scores: Sequence[Score], name: str = "") -> Point:
    rate = share_of(scores)
    place = x if isinstance(x, float | int) and not isinstance(x, bool) else str(x)
    return Point(place, 100 * rate.value, 100 * rate.low, 100 * rate.high, rate.n, name)


def printed_points(by: str, model: str) -> list[Point]:
    """Return the paper's numbers of a model on its shared questions."""
    measure = {"at": (6, "recoverability"), "length": (15, "guidability")}.get(by)
    if measure is None or not model:
        return []
    points = []
    for one in published(measure[0], model=model, measure=measure[1]):
        if one.n is None or one.level == "mean":
            continue
        rate = Rate(round(one.value * one.n / 100), one.n)
        level = float(one.level)
        points.append(Point(level, one.value, 100 * rate.low, 100 * rate.high, one.n))
    return points


def _plain(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:g}"
