"""The scores of each model in each run, as input for tables and claims over several runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from collab.analysis.estimates import arm_of, share_of
from collab.analysis.stats import Mean
from collab.core.design import Label
from collab.core.trajectory import Json
from collab.report.runs import RunSummary
from collab.scenarios.base import Score

MEAN = "mean"
"""The column of the average over the others, in the paper and here."""


@dataclass(frozen=True)
class Trial:
    """The scores of one model in one run."""

    model: str
    """The paper's name of the model, or else its id."""
    printed: bool
    """Whether the paper has numbers of this model."""
    scores: Sequence[Score]
    names: Mapping[str, str]
    """The model in each seat, by the same names."""
    samples: int = 8
    """Solo draws per question."""

    @classmethod
    def of(cls, job: RunSummary) -> Trial:
        """Load a run's folder, without importing anything that its manifest names."""
        team = _mapping(_mapping(job.manifest["config"]).get("team"))
        seat = str(job.settings.get("scenario.main", "main"))
        names = {name: _name(one) for name, one in team.items()}
        samples = job.settings.get("scenario.samples")
        return cls(
            names[seat],
            _paper(team[seat]) is not None,
            job.scores,
            names,
            samples if isinstance(samples, int) else 8,
        )

    def arm(self, arm: str) -> list[Score]:
        """Return the scores of one arm."""
        return arm_of(self.scores, arm)

    def level(self, by: str, value: Label) -> str:
        """Format the value of a factor as in the paper's columns."""
        match by:
            case "solved":
                return f"{value}/{self.samples}"
            case "guide":
                return self.names.get(str(value), str(value))
        return f"{value:g}" if isinstance(value, float) else str(value)


Evidence = Mapping[str, Sequence[Trial]]
"""The trials of each run, by the run's name."""
Pick = Callable[[Trial], Sequence[Score]]
"""Selects the scores of a number; `correct` marks a success."""


def shares(trial: Trial, picked: Sequence[Score], by: str) -> dict[str, Mean]:
    """Return the share solved for each value of a factor or label, and the mean of the shares."""
    values = sorted({score.factor(by) for score in picked}, key=_order)
    found = {
        trial.level(by, value): share_of([s for s in picked if s.factor(by) == value])
        for value in values
    }
    return {**found, MEAN: share_of(picked, strata=by)}


def keyed(scores: Iterable[Score], key: Callable[[Score], Hashable]) -> dict[Hashable, Score]:
    """Map scores by a key."""
    return {key(score): score for score in scores}


def _order(value: Label) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _name(seat: Json) -> str:
    return _paper(seat) or str(_mapping(seat).get("id", "a recording"))


def _paper(seat: Json) -> str | None:
    named = _mapping(_mapping(seat).get("about")).get("paper")
    return str(named) if named else None


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
