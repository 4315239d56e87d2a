"""A collaboration beside what it must beat: accuracy with intervals, and what it took, by author.

What several answers of one seat come to is their majority: as many are taken as cost what an
episode of the policy costs. Answers agree where they read alike; those that are right agree.
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
"""How far two shares of the tokens may lie apart and still be called equal."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way in which the questions were answered."""

    name: str
    scores: Sequence[Score]
    votes: int = 1
    """Answers of which the most frequent counts."""

    @property
    def solved(self) -> Groups:
        """The share solved, question by question."""
        asked = _by_question(self.scores)
        return {question: majorities(of, self.votes) for question, of in asked.items()}

    def sizes(self, of: Callable[[Score], float]) -> Groups:
        """Return what each question took."""
        asked = _by_question(self.scores)
        return {question: [self.votes * of(s) for s in done] for question, done in asked.items()}

    def size(self, of: Callable[[Score], float]) -> float:
        """Return what an episode takes, each question counted once."""
        return mean(mean(sizes) for sizes in self.sizes(of).values())

    @property
    def rate(self) -> Rate | Mean:
        """What is solved, with its interval over questions."""
        means = [mean(of) for of in self.solved.values()]
        if all(value in (0, 1) for value in means):
            return Rate(round(sum(means)), len(means))
        return clustered_mean(means)

    def part(self, seat: str) -> SeatWork:
        """Add up what a seat did."""
        parts = [score.parts.get(seat, SeatWork()) for score in self.scores]
        return SeatWork(
            sum(part.tokens for part in parts),
            sum(part.units for part in parts),
            sum(part.kept for part in parts),
            Cost.of(part.cost for part in parts),
        )

    @property
    def seats(self) -> dict[str, SeatWork]:
        """What each seat that took part did."""
        names = dict.fromkeys(seat for score in self.scores for seat in score.parts)
        parts = {seat: self.part(seat) for seat in names}
        return {seat: part for seat, part in parts.items() if part.tokens or part.cost.draws}

    def share(self, seat: str) -> float:
        """Return the share of the tokens that a seat wrote, of those that stand."""
        tokens = {name: part.tokens for name, part in self.seats.items()}
        return tokens.get(seat, 0) / whole if (whole := sum(tokens.values())) else 0.0


def cost(score: Score) -> Cost:
    """Return what an episode cost."""
    return Cost.of(part.cost for part in score.parts.values())


def flops(score: Score) -> float:
    """Return what an episode computed."""
    return cost(score).flops


def seconds(score: Score) -> float:
    """Return how long an episode's requests took, one after the other."""
    return cost(score).seconds


def sampled(score: Score) -> float:
    """Return the tokens that an episode sampled, side questions included."""
    return cost(score).completion


def majorities(scores: Sequence[Score], votes: int) -> list[float]:
    """Return how often a majority of so many answers is right.

    The answers are taken as they stand, `votes` in a row, the last ones with the first. Where
    several answers are as frequent, each may be the one; an episode without an answer has no vote.
    """
    if votes == 1:
        return [float(score.correct) for score in scores]
    windows = (
        [scores[(at + nth) % len(scores)] for nth in range(votes)] for at in range(len(scores))
    )
    return [_majority(window) for window in windows]


def _majority(scores: Sequence[Score]) -> float:
    said = Counter(
        "" if one.correct else f"={one.extracted}" for one in scores if one.correct or one.extracted
    )
    most = max(said.values(), default=0)
    top = [answer for answer, count in said.items() if count == most]
    return ("" in top) / len(top) if top else 0.0


def arms_of(scores: Sequence[Score]) -> list[Arm]:
    """Return the arms of a run: the policy, each seat alone, the baselines, by their names.

    Nothing depends on what was finished first. Behind them stands a majority for each seat of which
    several answers cost what the policy does.
    """
    by: dict[str, list[Score]] = {}
    for score in sorted(scores, key=_place):
        by.setdefault(str(score.design.arm), []).append(score)
    arms = [Arm(name, of) for name, of in by.items()]
    if not arms or arms[0].name != TOGETHER:
        return arms
    return [*arms, *_majorities(arms)]


def _place(score: Score) -> tuple[bool, bool, str, str]:
    """Say where an episode stands among the others: by its arm, then by its case."""
    arm = str(score.design.arm)
    return arm != TOGETHER, not arm.endswith(f" {ALONE}"), arm, score.case


def _majorities(arms: Sequence[Arm]) -> Iterator[Arm]:
    """Yield a majority for each seat of which several answers cost what the policy does."""
    taken, _ = currency(arms)
    for one in arms[1:]:
        if one.name.endswith(f" {ALONE}") and (each := one.size(taken)):
            votes = min(round(arms[0].size(taken) / each), _drawn(one))
            if votes > 1:
                yield Arm(one.name, one.scores, votes)


def _drawn(arm: Arm) -> int:
    """Return how many answers every question has."""
    return min(len(done) for done in _by_question(arm.scores).values())


def currency(arms: Sequence[Arm]) -> tuple[Callable[[Score], float], str]:
    """Return what costs are compared in: FLOPs, or tokens where a model's size is unknown."""
    costs = [cost(score) for arm in arms for score in arm.scores]
    known = any(c.flops for c in costs) and all(c.flops or not c.draws for c in costs)
    return (flops, "FLOPs") if known else (sampled, "tokens")


def titles(arms: Sequence[Arm], votes: str = "") -> list[str]:
    """Name the arms for readers; a majority says of how many, or of so many as `votes` says."""
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
    """Make the tables of a run: its arms, what each seat did, and the groups of `by`.

    Where the claims of a `published` system stand beside, they have a table of their own.
    """
    arms = arms_of(scores)
    made = [_arms(arms), *([_seats(arms)] if any(arm.seats for arm in arms) else [])]
    if len(groups := _groups(by, scores)) > 1:
        made.append(_rows(by, groups, arms))
    return [*made, _claims(published, arms)] if published else made


def remarks(scores: Sequence[Score]) -> list[str]:
    """Say what the tables compare, and where it is not like with like."""
    arms = arms_of(scores)
    if len(arms) < 2:
        return []
    return [
        "difference: together less the other, paired by question; p by Holm for all of them",
        "s: an episode's requests one after the other, as long as they took when sampled",
        *_equal_costs(arms),
        *_unequal_shares(arms),
    ]


def overall(scores: Sequence[Score]) -> dict[str, str]:
    """Return what a run comes to: a cell by column."""
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
    """Make the table of the arms: how much each solves, and what an episode of it takes."""
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
    table = new_table("", *kept, title="% solved [95 % interval], and what an episode takes")
    for name, *row in zip(titles(arms), *kept.values(), strict=True):
        table.add_row(show(name), *row)
    return table


def _seats(arms: Sequence[Arm]) -> Table:
    """Make the table of what each seat did, an episode."""
    heads = ("wrote", "% of tokens", "units kept", "sampled", "read", "FLOPs", "$")
    rows: list[list[str]] = []
    for arm in arms:
        if arm.votes == 1:
            rows += ([arm.name, *row] for row in _did(arm))
    whole = [any(column) for column in zip(*(row[2:] for row in rows), strict=True)]
    kept = [head for head, any_ in zip(heads, whole, strict=True) if any_]
    table = new_table("", "seat", *kept, title="by author, an episode")
    for name, seat, *cells in rows:
        row = (said for said, any_ in zip(cells, whole, strict=True) if any_)
        table.add_row(show(name), show(seat), *row)
    return table


def _did(arm: Arm) -> Iterator[list[str]]:
    """Yield a row a seat: what it wrote of what stands, and what it took."""
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
    """Make the table of what each arm solves, a row a group of questions."""
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
    """Make the table of a system's claims: what is printed, what ours is, and whether it agrees."""
    title = f"claims of {system}: does ours go their way, with all of its interval?"
    table = new_table("claim", title=title)
    table.add_column("ours [95 % interval]", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("published", no_wrap=True)
    for claim in claims(system):
        other = next((arm for arm in arms[1:] if arm.name == claim.against), None)
        said = f"{claim.measure}: {claim.sense} than {claim.against}"
        ours, verdict = ("not played", "undecided") if other is None else met(claim, arms[0], other)
        table.add_row(show(said.replace("same than", "same as")), ours, verdict, claim.printed)
    return table


def met(claim: SystemClaim, together: Arm, other: Arm) -> tuple[str, Meets]:
    """Return our difference or change with its interval, and what it says of a claim."""
    if claim.measure == "solved":
        effect = grouped_effect(together.solved, other.solved)
        return f"{difference(effect)} points", claim.met(effect.low, effect.high)
    of = sampled if claim.measure == "tokens" else seconds
    change = grouped_change(together.sizes(of), other.sizes(of))
    shown = f"{100 * change.value:+.0f} [{100 * change.low:+.0f},{100 * change.high:+.0f}] %"
    return shown, claim.met(change.low, change.high)


def _equal_costs(arms: Sequence[Arm]) -> Iterator[str]:
    """Say how nearly each majority costs what the policy does, and where none can."""
    taken, unit = currency(arms)
    whole = arms[0].size(taken)
    most = {arm.name: arm for arm in arms if arm.name.endswith(f" {ALONE}")}  # a majority is last
    for arm, name in ((arm, titles([arm, arm])[1]) for arm in most.values() if whole):
        share = arm.size(taken) / whole
        if arm.votes == 1:
            name = f"{name}: no majority of more"
        elif arm.votes == _drawn(arm) and share < 1 - 1 / arm.votes:
            name = f"{name}, which is all there are (scenario.votes)"
        yield f"{name}: {share:.2f} of the {unit} of together"


def _unequal_shares(arms: Sequence[Arm]) -> Iterator[str]:
    """Say in which arms of several authors the helper's share is not what it is in the policy."""
    helper = helper_of(arms)
    for arm in arms[1:] if helper else ():
        ours, theirs = arms[0].share(helper), arm.share(helper)
        if len(arm.seats) > 1 and abs(theirs - ours) > NEAR:
            change = "lower" if theirs > ours else "raise"
            yield (
                f"{helper} wrote {100 * theirs:.0f} % of {arm.name}, {100 * ours:.0f} % of "
                f"together: for equal shares {change} scenario.against.{arm.name}.share"
            )


def helper_of(arms: Sequence[Arm]) -> str:
    """Return the seat whose share of the tokens is told; empty where there is but one."""
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
