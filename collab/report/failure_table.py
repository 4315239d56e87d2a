"""The table of failure modes, shown once people have checked the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from collab.analysis.annotations import NEEDED, RuleCheck, checked, failings
from collab.analysis.estimates import arm_of, clusters
from collab.analysis.failure_modes import DEFINITIONS, Failing, failed, kind_of
from collab.analysis.stats import clustered_mean
from collab.report.formatting import CONTROLS, cell, new_table
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score


def went_wrong(
    folders: Sequence[RunFolder], scores: Sequence[Score]
) -> tuple[list[Table], list[str]]:
    """Return the table of failure modes of some runs, and notes on it.

    There is no table until enough episodes are labelled by hand. The note says how many are
    missing, if there are enough failures or someone has started to label.

    Args:
        folders: The runs.
        scores: All their scores.
    """
    steered = sum(failed(score) and kind_of(score) != "alone" for score in scores)
    if not steered:
        return [], []
    by_hand = checked(folders)
    if not by_hand.enough:
        if not by_hand.n and steered < NEEDED:
            return [], []
        return [], [
            f"failure modes of the {steered:,} failed steered episodes: shown once {NEEDED} of "
            f"them are labelled by hand (now {by_hand.n}): collab label RUN"
        ]
    labelled: list[tuple[Score, Failing]] = []
    for folder in folders:
        own = folder.scores()
        labelled += [(own[case], label) for case, label in failings(folder).items()]
    return [_table(labelled, by_hand)], [agreement_of(by_hand)]


def agreement_of(by_hand: RuleCheck) -> str:
    """Describe the agreement of the rules with people, and of people with each other."""
    between = "".join(
        f"; of {one} and {other}: {agreement}"
        for (one, other), agreement in by_hand.between_raters().items()
    )
    rules = by_hand.agreement()
    return f"Cohen's kappa [95 % interval] of the rules and labels by hand: {rules}{between}"


def _table(labelled: Sequence[tuple[Score, Failing]], by_hand: RuleCheck) -> Table:
    """Return a row per label: its share of each arm's failures, and its agreement."""
    labels = {id(score): label for score, label in labelled}
    scores = [score for score, _ in labelled]
    arms = {name: arm_of(scores, arm) for arm, name in ({"steer": "steered"} | CONTROLS).items()}
    arms = {name: group for name, group in arms.items() if group}
    heads = [f"{name} (n={len(group)})" for name, group in arms.items()]
    title = "failure modes, by rule: % of the failed episodes [95 % interval]"
    table = new_table("", *heads, "kappa", title=title)
    for label in (name for name in DEFINITIONS if name in labels.values()):
        cells = [_share(group, labels, label) for group in arms.values()]
        table.add_row(label, *cells, str(by_hand.agreement(label)).partition(" (")[0])
    return table


def _share(group: Sequence[Score], labels: Mapping[int, Failing], label: Failing) -> str:
    values = [float(labels[id(score)] == label) for score in group]
    return cell(clustered_mean(values, *clusters(group)))
