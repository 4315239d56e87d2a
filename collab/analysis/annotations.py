"""What people say went wrong, and how well the rules agree with them.

Labels by hand stand in a run's `ratings.jsonl`, a line each; what a rater said of a case last
counts. Cases are drawn by content and a seed: whoever goes on, or rates the same run, meets the
same ones in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

from pydantic import TypeAdapter

from collab.analysis.failure_modes import Failing, failed, failing, kind_of
from collab.analysis.stats import Agreement, kappa
from collab.runs.jsonl import JsonLines
from collab.runs.lock import now
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import rank

NEEDED = 100
"""Episodes that must be labelled by hand before the rules' labels are reported."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater said of one case."""

    case: str
    rater: str
    failing: Failing
    at: str = ""
    """When (ISO 8601)."""


_RATING: TypeAdapter[Rating] = TypeAdapter(Rating)


class Ratings:
    """The labels by hand of one run."""

    def __init__(self, folder: RunFolder) -> None:
        self._lines = JsonLines(folder.path / "ratings.jsonl")

    def of(self) -> dict[str, dict[str, Failing]]:
        """Map each rater to the cases they labelled.

        Raises:
            RunError: A line holds something else.
        """
        found: dict[str, dict[str, Failing]] = {}
        for one in self._lines.values(_RATING):
            found.setdefault(one.rater, {})[one.case] = one.failing
        return found

    def add(self, case: str, rater: str, said: Failing) -> None:
        """Append a label.

        Raises:
            RunError: It cannot be written.
        """
        self._lines.mend()
        self._lines.append(asdict(Rating(case, rater, said, now())))


@dataclass(frozen=True)
class RuleCheck:
    """The rules beside the people, over one run or several."""

    by_rules: Mapping[str, Failing]
    """What the rules say of every failed episode that was labelled by hand."""
    by_hand: Mapping[str, Mapping[str, Failing]]
    """What each rater says."""

    @property
    def n(self) -> int:
        """How many episodes were labelled by hand."""
        return len(self.by_rules)

    @property
    def enough(self) -> bool:
        """Say whether the rules' labels may be reported."""
        return self.n >= NEEDED

    def agreement(self, only: Failing | None = None) -> Agreement:
        """Return Cohen's kappa of rules and people.

        An episode counts once, with the label of whoever labelled most.

        Args:
            only: One label against all others; None: all labels.
        """
        hand = self._one_each()
        pairs = [(self.by_rules[case], hand[case]) for case in self.by_rules]
        if only is None:
            return kappa(*_columns(pairs))
        return kappa(*_columns([(one == only, other == only) for one, other in pairs]))

    def between_raters(self) -> dict[tuple[str, str], Agreement]:
        """Return the agreement of each two raters on what both labelled."""
        found = {}
        for one, other in combinations(sorted(self.by_hand), 2):
            both = sorted(self.by_hand[one].keys() & self.by_hand[other].keys())
            if both:
                pairs = [(self.by_hand[one][case], self.by_hand[other][case]) for case in both]
                found[one, other] = kappa(*_columns(pairs))
        return found

    def _one_each(self) -> dict[str, Failing]:
        raters = sorted(self.by_hand, key=lambda name: (len(self.by_hand[name]), name))
        return {case: said for name in raters for case, said in self.by_hand[name].items()}


def checked(folders: Iterable[RunFolder]) -> RuleCheck:
    """Put the rules beside what people said, over all runs together."""
    by_rules: dict[str, Failing] = {}
    by_hand: dict[str, dict[str, Failing]] = {}
    for folder in folders:
        ratings = Ratings(folder).of()
        ours = failings(folder, {case for said in ratings.values() for case in said})
        for rater, said in ratings.items():
            mine = by_hand.setdefault(rater, {})
            mine |= {f"{folder.path}/{c}": label for c, label in said.items() if c in ours}
        by_rules |= {f"{folder.path}/{case}": label for case, label in ours.items()}
    return RuleCheck(by_rules, by_hand)


def failings(folder: RunFolder, cases: Iterable[str] | None = None) -> dict[str, Failing]:
    """Label the failed episodes of a run by the rules, or those among some cases."""
    scores, questions, finished = folder.scores(), folder.questions(), folder.finished()
    wanted = finished.keys() if cases is None else finished.keys() & set(cases)
    return {
        case: failing(folder.at(at)[0], scores[case], questions[scores[case].question])
        for case, at in finished.items()
        if case in wanted and failed(scores[case])
    }


def labelled(folder: RunFolder, seed: int) -> list[str]:
    """Return the failed steered cases of a run in the order in which they are labelled."""
    scores = folder.scores()
    steered = [
        case
        for case in folder.finished()
        if failed(scores[case]) and kind_of(scores[case]) != "alone"
    ]
    return sorted(steered, key=lambda case: rank("label", seed, case))


def _columns(pairs: Sequence[tuple[object, object]]) -> tuple[list[object], list[object]]:
    return [one for one, _ in pairs], [other for _, other in pairs]
