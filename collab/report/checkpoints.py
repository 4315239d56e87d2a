"""Series of checkpoints: solo accuracy, recoverability and guidability (figures 5 to 7).

Differences are tested twice: by the two-sample t test that the paper uses, which treats all
episodes as independent, and by a test that respects clusters of questions and distractors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from rich.table import Table
from rich.text import Text

from collab.analysis.estimates import share_of, significant
from collab.analysis.stats import Mean, difference, two_sample_t
from collab.report.evidence import Trial
from collab.report.figure import Figure, Point, Series
from collab.report.formatting import odds
from collab.report.paper_tables import effect_cell, headed, share_cell
from collab.report.trajectory import safe
from collab.scenarios.base import Score

MEASURES = {
    "benchmark": ("solo", "solo"),
    "recoverability": ("recoverability", "steer"),
    "guidability": ("guidability", "steer"),
}
"""The run and the arm of each measure."""
BY = {"benchmark": "level", "recoverability": "at", "guidability": "length"}
"""The factor or label over whose values a measure is averaged."""


@dataclass(frozen=True)
class SeriesCheckpoint:
    """One checkpoint of a series, with its scores in each run."""

    series: str
    name: str
    trials: Mapping[str, Trial]

    def scores(self, measure: str) -> list[Score]:
        """Return the scores of a measure."""
        run, arm = MEASURES[measure]
        return self.trials[run].arm(arm)

    def share(self, measure: str) -> Mean:
        """Return a measure: the mean over its columns."""
        return share_of(self.scores(measure), BY[measure])


def panels(checkpoints: Sequence[SeriesCheckpoint]) -> list[Figure]:
    """Plot each measure by checkpoint, and recoverability against the benchmark."""
    made = [_panel(measure, checkpoints) for measure in MEASURES]
    against = [
        Series(name, [_point(100 * c.share("benchmark").value, c, "recoverability") for c in of])
        for name, of in _series(checkpoints).items()
    ]
    x = "% solved alone"
    return [*made, Figure("against", "Recoverability against benchmark", x, "% solved", against)]


def shares_table(checkpoints: Sequence[SeriesCheckpoint]) -> Table:
    """List the measures of each checkpoint."""
    table = headed("Checkpoints, ours; % [95 % interval]", "series", "checkpoint", *MEASURES)
    for one in checkpoints:
        cells = [share_cell(one.share(measure)) for measure in MEASURES]
        table.add_row(Text(safe(one.series)), Text(safe(one.name)), *cells)
    return table


def differences_table(checkpoints: Sequence[SeriesCheckpoint]) -> Table:
    """Compare the series checkpoint by checkpoint; or each with the one before."""
    heads = ("difference", "p (clustered)", "p (t test, as in the paper)")
    table = headed("Differences; * p < 0.05 after Holm's correction", "compared", "measure", *heads)
    rows = [
        (one, other, measure)
        for one, other in _compared(checkpoints)
        for measure in MEASURES
        if one.scores(measure) and other.scores(measure)
    ]
    effects = [difference(one.share(m), other.share(m)) for one, other, m in rows]
    for (one, other, measure), effect, star in zip(
        rows, effects, significant(effects), strict=True
    ):
        plain = two_sample_t(_outcomes(one, measure), _outcomes(other, measure))
        compared = f"{one.series} {one.name} - {other.series} {other.name}"
        ps = map(odds, (effect.p, plain))
        table.add_row(Text(safe(compared)), measure, effect_cell(effect, star), *ps)
    return table


def _compared(
    checkpoints: Sequence[SeriesCheckpoint],
) -> Iterator[tuple[SeriesCheckpoint, SeriesCheckpoint]]:
    series = list(_series(checkpoints).values())
    if len(series) == 1:
        yield from ((later, before) for before, later in pairwise(series[0]))
    for one, other in combinations(series, 2):
        yield from zip(one, other, strict=False)


def _series(checkpoints: Sequence[SeriesCheckpoint]) -> dict[str, list[SeriesCheckpoint]]:
    found: dict[str, list[SeriesCheckpoint]] = {}
    for one in checkpoints:
        found.setdefault(one.series, []).append(one)
    return found


def _panel(measure: str, checkpoints: Sequence[SeriesCheckpoint]) -> Figure:
    series = [
        Series(name, [_point(one.name, one, measure) for one in of if one.scores(measure)])
        for name, of in _series(checkpoints).items()
    ]
    return Figure(measure, measure.capitalize(), "checkpoint", "% solved", series)


def _point(x: float | str, one: SeriesCheckpoint, measure: str) -> Point:
    mean = one.share(measure)
    return Point(x, 100 * mean.value, 100 * mean.low, 100 * mean.high, mean.n, one.name)


def _outcomes(one: SeriesCheckpoint, measure: str) -> list[bool]:
    return [score.correct for score in one.scores(measure)]
