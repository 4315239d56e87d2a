"""Labels of failures by people, and their agreement with the rules.

A run's `ratings.jsonl` has a line per label. If a rater labels a case twice, the last label counts.
Cases are drawn by content and a seed, so that every rater of a run gets the same cases in the same
order.
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
"""Episodes that people must label before the rules' labels are reported."""


@dataclass(frozen=True, slots=True)
class Rating:
    """The label that one rater gave to one case."""

    case: str
    rater: str
    failing: Failing
    at: str = ""
    """When (ISO 8601)."""


_RATING: TypeAdapter[Rating] = TypeAdapter(Rating)


class Ratings:
    """The labels that people gave to the cases of one run."""

    def __init__(self, folder: RunFolder) -> None:
        self._lines = JsonLines(folder.path / "ratings.jsonl")

    def of(self) -> dict[str, dict[str, Failing]]:
        """Map each rater to the labels of their cases.

        Raises:
            RunError: A line is not a label.
        """
        found: dict[str, dict[str, Failing]] = {}
        for one in self._lines.values(_RATING):
            found.setdefault(one.rater, {})[one.case] = one.failing
        return found

    def add(self, case: str, rater: str, label: Failing) -> None:
        """Append a label.

        Raises:
            RunError: The file cannot be written.
        """
        self._lines.mend()
        self._lines.append(asdict(Rating(case, rater, label, now())))


@dataclass(frozen=True)
class RuleCheck:
    """The labels of the rules and of people, over one run or several."""

    by_rules: Mapping[str, Failing]
    """The rules' labels of the failed episodes that people labelled."""
    by_hand: Mapping[str, Mapping[str, Failing]]
    """The labels of each rater."""

    @property
    def n(self) -> int:
        """Count the episodes that people labelled."""
        return len(self.by_rules)

    @property
    def enough(self) -> bool:
        """Return whether enough labels exist to report those of the rules."""
        return self.n >= NEEDED

    def agreement(self, only: Failing | None = None) -> Agreement:
        """Return Cohen's kappa of the rules and people.

        An episode counts once, with the label of the rater who labelled most.

        Args:
            only: Compare this label with all others; None: compare all labels.
        """
        hand = self._one_each()
        pairs = [(self.by_rules[case], hand[case]) for case in self.by_rules]
        if only is None:
            return kappa(*_columns(pairs))
        return kappa(*_columns([(one == only, other == only) for one, other in pairs]))

    def between_raters(self) -> dict[tuple[str, str], Agreement]:
        """Return the agreement of each two raters on the episodes that both labelled."""
        found = {}
        for one, other in combinations(sorted(self.by_hand), 2):
            both = sorted(self.by_hand[one].keys() & self.by_hand[other].keys())
            if both:
                pairs = [(self.by_hand[one][case], self.by_hand[other][case]) for case in both]
                found[one, other] = kappa(*_columns(pairs))
        return found

    def _one_each(self) -> dict[str, Failing]:
        raters = sorted(self.by_hand, key=lambda name: (len(self.by_hand[name]), name))
        return {case: label for name in raters for case, label in self.by_hand[name].items()}


def checked(folders: Iterable[RunFolder]) -> RuleCheck:
    """Collect the labels of the rules and of people over all runs."""
    by_rules: dict[str, Failing] = {}
    by_hand: dict[str, dict[str, Failing]] = {}
    for folder in folders:
        ratings = Ratings(folder).of()
        ours = failings(folder, {case for labels in ratings.values() for case in labels})
        for rater, labels in ratings.items():
            mine = by_hand.setdefault(rater, {})
            mine |= {f"{folder.path}/{c}": label for c, label in labels.items() if c in ours}
        by_rules |= {f"{folder.path}/{case}": label for case, label in ours.items()}
    return RuleCheck(by_rules, by_hand)


def failings(folder: RunFolder, cases: Iterable[str] | None = None) -> dict[str, Failing]:
    """Label the failed episodes of a run by the rules; all of them, or those of some cases."""
    scores, questions, finished = folder.scores(), folder.questions(), folder.finished()
    wanted = finished.keys() if cases is None else finished.keys() & set(cases)
    return {
        case: failing(folder.at(at)[0], scores[case], questions[scores[case].question])
        for case, at in finished.items()
        if case in wanted and failed(scores[case])
    }


def labelled(folder: RunFolder, seed: int) -> list[str]:
    """Return the failed steered cases of a run in the order in which people label them."""
    scores = folder.scores()
    steered = [
        case
        for case in folder.finished()
        if failed(scores[case]) and kind_of(scores[case]) != "alone"
    ]
    return sorted(steered, key=lambda case: rank("label", seed, case))


def _columns(pairs: Sequence[tuple[object, object]]) -> tuple[list[object], list[object]]:
    return [one for one, _ in pairs], [other for _, other in pairs]
