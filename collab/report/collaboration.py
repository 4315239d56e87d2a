"""Tables of a collaboration and its baselines: accuracy with intervals, and cost by author.

Several answers of one seat are combined by majority. A majority has as many answers as together
cost what an episode of the policy costs. Answers agree if they have the same text; all correct
answers agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from rich.table import Table

from collab.analysis.stats import (
    Effect,
    Groups,
    Mean,
    Rate,
    clustered_mean,
    grouped_change,
    grouped_effect,
    holm,
)
from collab.core.cost import Cost
from collab.report.formatting import cell, difference, new_table, odds, show
from collab.scenarios.base import Score, SeatWork
from collab.scenarios.collaboration import ALONE, TOGETHER
from collab.scenarios.published_systems import Meets, SystemClaim, claims

NEAR = 0.05
"""Largest difference of two token shares that count as equal."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: a way of answering the questions."""

    name: str
    scores: Sequence[Score]
    votes: int = 1
    """The number of answers in a majority."""

    @property
    def solved(self) -> Groups:
        """The share solved, by question."""
        asked = _by_question(self.scores)
        return {question: majorities(of, self.votes) for question, of in asked.items()}

    def sizes(self, of: Callable[[Score], float]) -> Groups:
        """Return the size of each question's episodes."""
        asked = _by_question(self.scores)
        return {question: [self.votes * of(s) for s in done] for question, done in asked.items()}

    def size(self, of: Callable[[Score], float]) -> float:
        """Return the mean size of an episode over questions."""
        return mean(mean(sizes) for sizes in self.sizes(of).values())

    @property
    def rate(self) -> Rate | Mean:
        """The share solved, with an interval over questions."""
        means = [mean(of) for of in self.solved.values()]
        if all(value in (0, 1) for value in means):
            return Rate(round(sum(means)), len(means))
        return clustered_mean(means)

    def part(self, seat: str) -> SeatWork:
        """Sum the work of a seat."""
        parts = [score.parts.get(seat, SeatWork()) for score in self.scores]
        return SeatWork(
            sum(part.tokens for part in parts),
            sum(part.units for part in parts),
            sum(part.kept for part in parts),
            Cost.of(part.cost for part in parts),
        )

    @property
    def seats(self) -> dict[str, SeatWork]:
        """The work of each seat that took part."""
        names = dict.fromkeys(seat for score in self.scores for seat in score.parts)
        parts = {seat: self.part(seat) for seat in names}
        return {seat: part for seat, part in parts.items() if part.tokens or part.cost.draws}

    def share(self, seat: str) -> float:
        """Return a seat's share of the tokens on the final trajectories."""
        tokens = {name: part.tokens for name, part in self.seats.items()}
        return tokens.get(seat, 0) / whole if (whole := sum(tokens.values())) else 0.0


def cost(score: Score) -> Cost:
    """Return the cost of an episode in money."""
    return Cost.of(part.cost for part in score.parts.values())


def flops(score: Score) -> float:
    """Return the FLOPs of an episode."""
    return cost(score).flops


def seconds(score: Score) -> float:
    """Return the total duration of an episode's requests."""
    return cost(score).seconds


def sampled(score: Score) -> float:
    """Return the tokens sampled in an episode, side questions included."""
    return cost(score).completion


def majorities(scores: Sequence[Score], votes: int) -> list[float]:
    """Return the chance that a majority of `votes` answers is correct.

    Each run of `votes` consecutive answers is one majority, with the list closed to a circle. Ties
    are split evenly. An episode without an answer has no vote.
    """
    if votes == 1:
        return [float(score.correct) for score in scores]
    windows = (
        [scores[(at + nth) % len(scores)] for nth in range(votes)] for at in range(len(scores))
    )
    return [_majority(window) for window in windows]


def _majority(scores: Sequence[Score]) -> float:
    counts = Counter(
        "" if one.correct else f"={one.extracted}" for one in scores if one.correct or one.extracted
    )
    most = max(counts.values(), default=0)
    top = [answer for answer, count in counts.items() if count == most]
    return ("" in top) / len(top) if top else 0.0


def arms_of(scores: Sequence[Score]) -> list[Arm]:
    """Return the arms of a run: the policy, each seat alone, and the baselines by name.

    The order does not depend on which episodes finish first. At the end is a majority for each seat
    of which several answers cost as much as an episode of the policy.
    """
    by: dict[str, list[Score]] = {}
    for score in sorted(scores, key=_place):
        by.setdefault(str(score.design.arm), []).append(score)
    arms = [Arm(name, of) for name, of in by.items()]
    if not arms or arms[0].name != TOGETHER:
        return arms
    return [*arms, *_majorities(arms)]


def _place(score: Score) -> tuple[bool, bool, str, str]:
    """Return the sort key of an episode: its arm, then its case."""
    arm = str(score.design.arm)
    return arm != TOGETHER, not arm.endswith(f" {ALONE}"), arm, score.case


def _majorities(arms: Sequence[Arm]) -> Iterator[Arm]:
    """Yield a majority for each seat of which several answers cost as much as the policy."""
    taken, _ = currency(arms)
    for one in arms[1:]:
        if one.name.endswith(f" {ALONE}") and (each := one.size(taken)):
            votes = min(round(arms[0].size(taken) / each), _drawn(one))
            if votes > 1:
                yield Arm(one.name, one.scores, votes)


def _drawn(arm: Arm) -> int:
    """Return the smallest number of answers of a question."""
    return min(len(done) for done in _by_question(arm.scores).values())


def currency(arms: Sequence[Arm]) -> tuple[Callable[[Score], float], str]:
    """Return the measure of cost: FLOPs, or tokens if a model's size is unknown."""
    costs = [cost(score) for arm in arms for score in arm.scores]
    known = any(c.flops for c in costs) and all(c.flops or not c.draws for c in costs)
    return (flops, "FLOPs") if known else (sampled, "tokens")


def titles(arms: Sequence[Arm], votes: str = "") -> list[str]:
    """Return the names of the arms; a majority includes its number of answers, or `votes`."""
    seen: set[str] = set()
    names = []
    for arm in arms:
        seat = arm.name.removesuffix(f" {ALONE}")
        majority = f"majority of {votes or arm.votes} × {seat}"
        names.append(majority if arm.name in seen else arm.name)
        seen.add(arm.name)
    return names


def effects(arms: Sequence[Arm]) -> list[Effect | None]:
    """Compare the policy with each other arm, question by question; None for itself."""
    treated = arms[0].solved
    return [None, *(grouped_effect(treated, arm.solved) for arm in arms[1:])]


def tables(by: str, scores: Sequence[Score], published: str = "") -> list[Table]:
    """Return the tables of a run: the arms, the seats, and the groups of `by`.

    If a `published` system is given, its claims have a table of their own.
    """
    arms = arms_of(scores)
    made = [_arms(arms), *([_seats(arms)] if any(arm.seats for arm in arms) else [])]
    if len(groups := _groups(by, scores)) > 1:
        made.append(_rows(by, groups, arms))
    return [*made, _claims(published, arms)] if published else made


def remarks(scores: Sequence[Score]) -> list[str]:
    """Return notes on what the tables compare, and on unequal costs and shares."""
    arms = arms_of(scores)
    if len(arms) < 2:
        return []
    return [
        "difference: together minus the other arm, paired by question; p after Holm's correction "
        "over all arms",
        "s: total duration of an episode's requests when they were sampled",
        *_equal_costs(arms),
        *_unequal_shares(arms),
    ]


def overall(scores: Sequence[Score]) -> dict[str, str]:
    """Return a run's main results by column."""
    arms = arms_of(scores)
    others = zip(titles(arms, votes="k")[1:], effects(arms)[1:], strict=True)
    return {
        "n": str(len(arms[0].scores)),
        "solved %": cell(arms[0].rate),
        **{f"difference to {name}": difference(effect) for name, effect in others if effect},
        "tokens": f"{arms[0].size(sampled):.0f}",
        **({f"{helper} %": _share(arms[0], helper)} if (helper := helper_of(arms)) else {}),
    }


def _arms(arms: Sequence[Arm]) -> Table:
    """Return the table of the arms: the share solved and the cost of an episode."""
    compared, helper = effects(arms), helper_of(arms)
    ps = iter(holm([effect.p for effect in compared if effect and effect.p is not None]))
    columns: dict[str, list[str]] = {
        "n": [str(len(arm.scores)) for arm in arms],
        "solved %": [cell(arm.rate) for arm in arms],
        "difference": [difference(effect) if effect else "" for effect in compared],
        "p": [odds(next(ps)) if e and e.p is not None else "" for e in compared],
        "tokens": [f"{arm.size(sampled):.0f}" for arm in arms],
        f"{helper} %": [_share(arm, helper) for arm in arms],
        "FLOPs": [f"{arm.size(flops):.2g}" for arm in arms] if currency(arms)[1] == "FLOPs" else [],
        "$": [f"{size:.2g}" if (size := arm.size(lambda s: cost(s).money)) else "" for arm in arms],
        "s": [f"{arm.size(seconds):.2g}" for arm in arms],
    }
    kept = {head: cells for head, cells in columns.items() if any(cells)}
    table = new_table("", *kept, title="% solved [95 % interval], and the cost of an episode")
    for name, *row in zip(titles(arms), *kept.values(), strict=True):
        table.add_row(show(name), *row)
    return table


def _seats(arms: Sequence[Arm]) -> Table:
    """Return the table of each seat's work per episode."""
    heads = ("wrote", "% of tokens", "units kept", "sampled", "read", "FLOPs", "$")
    rows: list[list[str]] = []
    for arm in arms:
        if arm.votes == 1:
            rows += ([arm.name, *row] for row in _did(arm))
    whole = [any(column) for column in zip(*(row[2:] for row in rows), strict=True)]
    kept = [head for head, any_ in zip(heads, whole, strict=True) if any_]
    table = new_table("", "seat", *kept, title="by author, per episode")
    for name, seat, *cells in rows:
        row = (value for value, any_ in zip(cells, whole, strict=True) if any_)
        table.add_row(show(name), show(seat), *row)
    return table


def _did(arm: Arm) -> Iterator[list[str]]:
    """Yield a row per seat: its text on the final trajectory, and its cost."""
    n = len(arm.scores)
    for seat, part in arm.seats.items():
        stood = f"{100 * part.kept / part.units:.0f} %" if part.units else "–"
        yield [
            seat,
            f"{part.tokens / n:.0f}",
            f"{100 * arm.share(seat):.0f}",
            stood,
            f"{part.cost.completion / n:.0f}",
            f"{part.cost.prompt / n:.0f}",
            f"{part.cost.flops / n:.2g}" if part.cost.flops else "",
            f"{part.cost.money / n:.2g}" if part.cost.money else "",
        ]


def _rows(by: str, groups: Mapping[str, Sequence[Score]], arms: Sequence[Arm]) -> Table:
    """Return the table of the share solved by arm and group of questions."""
    table = new_table(by, *titles(arms), title=f"% solved by {by}")
    for name, scores in groups.items():
        within = {score.question for score in scores}
        parts = [
            Arm(arm.name, [s for s in arm.scores if s.question in within], arm.votes)
            for arm in arms
        ]
        table.add_row(show(name), *(cell(part.rate) if part.scores else "–" for part in parts))
    return table


def _claims(system: str, arms: Sequence[Arm]) -> Table:
    """Return the table of a system's claims: printed, ours, and whether they agree."""
    title = f"claims of {system}: does the whole interval of our difference agree?"
    table = new_table("claim", title=title)
    table.add_column("ours [95 % interval]", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("published", no_wrap=True)
    for claim in claims(system):
        other = next((arm for arm in arms[1:] if arm.name == claim.against), None)
        wording = f"{claim.measure}: {claim.sense} than {claim.against}"
        ours, verdict = ("not played", "undecided") if other is None else met(claim, arms[0], other)
        table.add_row(show(wording.replace("same than", "same as")), ours, verdict, claim.printed)
    return table


def met(claim: SystemClaim, together: Arm, other: Arm) -> tuple[str, Meets]:
    """Return our difference or change with its interval, and whether it meets the claim."""
    if claim.measure == "solved":
        effect = grouped_effect(together.solved, other.solved)
        return f"{difference(effect)} points", claim.met(effect.low, effect.high)
    of = sampled if claim.measure == "tokens" else seconds
    change = grouped_change(together.sizes(of), other.sizes(of))
    shown = f"{100 * change.value:+.0f} [{100 * change.low:+.0f},{100 * change.high:+.0f}] %"
    return shown, claim.met(change.low, change.high)


def _equal_costs(arms: Sequence[Arm]) -> Iterator[str]:
    """Yield how nearly each majority matches the cost of the policy, and where none does."""
    taken, unit = currency(arms)
    whole = arms[0].size(taken)
    most = {arm.name: arm for arm in arms if arm.name.endswith(f" {ALONE}")}  # majorities are last
    for arm, name in ((arm, titles([arm, arm])[1]) for arm in most.values() if whole):
        share = arm.size(taken) / whole
        if arm.votes == 1:
            name = f"{name}: no majority costs as much"
        elif arm.votes == _drawn(arm) and share < 1 - 1 / arm.votes:
            name = f"{name}, all there are (increase scenario.votes)"
        yield f"{name}: {share:.2f} of the {unit} of together"


def _unequal_shares(arms: Sequence[Arm]) -> Iterator[str]:
    """Yield the arms of several authors in which the helper's share differs from the policy's."""
    helper = helper_of(arms)
    for arm in arms[1:] if helper else ():
        ours, theirs = arms[0].share(helper), arm.share(helper)
        if len(arm.seats) > 1 and abs(theirs - ours) > NEAR:
            change = "lower" if theirs > ours else "raise"
            yield (
                f"{helper} wrote {100 * theirs:.0f} % of {arm.name} and {100 * ours:.0f} % of "
                f"together; for equal shares, {change} scenario.against.{arm.name}.share"
            )


def helper_of(arms: Sequence[Arm]) -> str:
    """Return the seat for the column of token shares; empty if there is only one writer."""
    return arms[0].scores[0].design.helper or "" if arms[0].scores else ""


def _share(arm: Arm, helper: str) -> str:
    return f"{100 * arm.share(helper):.0f}" if helper else ""


def _groups(by: str, scores: Sequence[Score]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for score in sorted(scores, key=lambda score: str(score.factor(by))):
        groups.setdefault(str(score.factor(by)), []).append(score)
    return groups


def _by_question(scores: Sequence[Score]) -> Mapping[str, list[Score]]:
    asked: defaultdict[str, list[Score]] = defaultdict(list)
    for score in scores:
        asked[score.question].append(score)
    return asked
