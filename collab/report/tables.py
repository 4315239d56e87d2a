"""A run's scores as tables: every rate with its n, its interval and its controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import chain
from statistics import mean

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collab.analysis.estimates import ALPHA, arm_of, share_of, significant
from collab.analysis.stats import Rate, pass_at_k, wilson
from collab.core.cost import Cost
from collab.core.design import Design, Label
from collab.core.trajectory import Seams
from collab.report import collaboration
from collab.report.formatting import (
    cell,
    effects_of,
    mean_of,
    new_table,
    rate,
    show,
    twin_cells,
)
from collab.report.splits import splits
from collab.report.trajectory import safe
from collab.scenarios.base import Score
from collab.scenarios.collaboration import TOGETHER

WIDEST = 1000
"""The longest line of a table (characters)."""
HOLDS: Mapping[str, Callable[[Design], bool | None]] = {
    "answer in own text": lambda design: design.own_holds_answer,
    "stated as result": lambda design: design.own_states_answer,
    "answer in steer": lambda design: design.steer_holds_answer,
    "stated as result ": lambda design: design.steer_states_answer,
}
"""What an opening may hold, by the heading of its column."""


def summary(
    title: str, by: str, scores: Sequence[Score], notes: Sequence[str], published: str = ""
) -> RenderableType:
    """Return a run's tables with its notes; `published` names a system whose claims to test."""
    return Group(
        Text(safe(title), style="bold"),
        *tables(by, scores, published),
        *(Text(safe(f"  {line}"), style="dim") for line in [*remarks(scores), *notes]),
    )


def tables(by: str, scores: Sequence[Score], published: str = "") -> Sequence[Table]:
    """Return a run's tables."""
    if arm_of(scores, TOGETHER):
        return collaboration.tables(by, scores, published)
    return _twins(by, scores) if arm_of(scores, "steer") else [_plain(by, scores)]


def remarks(scores: Sequence[Score]) -> list[str]:
    """Return notes on what the tables leave out: unusual verdicts, and the effects of seams."""
    notes = (_verdicts(scores), _seams(scores), _judged(scores))
    both = arm_of(scores, TOGETHER)
    return [*filter(None, notes), *(collaboration.remarks(scores) if both else ())]


def astray(scores: Sequence[Score]) -> list[str]:
    """Return the cases that fail with the steer and are solved without it."""
    solved = {score.design.pair: score.correct for score in arm_of(scores, "none")}
    return [
        score.case
        for score in arm_of(scores, "steer")
        if not score.correct and solved.get(score.design.pair)
    ]


def print_whole(console: Console, shown: RenderableType) -> None:
    """Print tables at their full width: a narrow terminal wraps lines and cuts no number."""
    free = console.options.update(max_width=WIDEST)
    console.width = max(console.width, console.measure(shown, options=free).maximum)
    console.print(shown, soft_wrap=True)


def overall(scores: Sequence[Score]) -> dict[str, str]:
    """Return a run's main results: a cell by column, rates in % with 95 % intervals."""
    if arm_of(scores, TOGETHER):
        return collaboration.overall(scores)
    if not arm_of(scores, "steer"):
        return _plain_cells(scores, _draws(scores))
    raw = [score for score in scores if _kind(score) == "raw"] or scores
    return twin_cells(raw, effects_of(raw, raw))


def headlines(named: Mapping[str, Sequence[Score]]) -> Table:
    """Return a row for each of several gradings of the same episodes."""
    cells = {name: overall(scores) for name, scores in named.items()}
    columns = dict.fromkeys(column for row in cells.values() for column in row)
    table = new_table("verdicts", *columns, title="% solved [95 % interval]")
    for name, row in cells.items():
        table.add_row(name, *(row.get(column, "–") for column in columns))
    return table


def _plain(by: str, scores: Sequence[Score]) -> Table:
    """Return the table of a run without arms: Pass@1 by group, and pass@k with k draws."""
    draws = _draws(scores)
    table = new_table(by, *_plain_cells(scores, draws), title="% solved [95 % interval]")
    rows = rows_of(by, scores)
    for name, group in rows:
        table.add_row(show(name), *_plain_cells(group, draws).values())
    if len(rows) > 1:
        table.add_row("macro", "", "", _macro(by, scores))
    return table


def _plain_cells(scores: Sequence[Score], draws: int) -> dict[str, str]:
    return {
        "n": str(len(scores)),
        "questions": str(len({score.question for score in scores})),
        "solved %": rate(scores),
        **({f"pass@{draws} %": _pass_at(scores, draws)} if draws > 1 else {}),
        "tokens": mean_of(score.tokens for score in scores),
    }


def _macro(by: str, scores: Sequence[Score]) -> str:
    """Return the mean over the rows of a table, with equal weights."""
    return cell(share_of(scores, strata=by)) if scores else "–"


def _draws(scores: Sequence[Score]) -> int:
    """Return the smallest number of solo draws of a question."""
    return min(Counter(score.question for score in arm_of(scores, "solo")).values(), default=1)


def _pass_at(scores: Sequence[Score], k: int) -> str:
    """Return the share of questions that one of `k` draws solves; each question counts once."""
    drawn = Counter(score.question for score in scores)
    right = Counter(score.question for score in scores if score.correct)
    chances = [pass_at_k(n, right[question], k) for question, n in drawn.items() if n >= k]
    if not chances:
        return "–"
    low, high = wilson(sum(chances), len(chances))
    return f"{100 * mean(chances):.0f} [{100 * low:.0f},{100 * high:.0f}]"


def _twins(by: str, scores: Sequence[Score]) -> list[Table]:
    """Return the tables of a twin test, one per kind of steer: a summary is not thinking."""
    made: list[Table] = []
    for kind in sorted(set(map(_kind, scores))):
        group = [score for score in scores if _kind(score) == kind]
        what = "" if kind == "raw" else f", steers: {kind}"
        made += [_twin(by, group, what), _steers(by, group), *splits(group)]
    return made


def _kind(score: Score) -> str:
    return score.design.steer_kind or "raw"


def _twin(by: str, scores: Sequence[Score], what: str) -> Table:
    """Return the table of one kind of steer: a row per point or share, with matched controls."""
    rows = rows_of(by, scores)
    effects = [effects_of(group, scores) for _, group in rows]
    counts = iter(significant([effect for row in effects for effect in row.values()]))
    marks = [{arm: "*" if next(counts) else "" for arm in row} for row in effects]
    starred = any(mark for row in marks for mark in row.values())
    star = f" (* p < {ALPHA:g} after Holm)" if starred else ""
    title = f"% solved [95 % interval], paired difference{star}{what}"
    columns = [name.partition(" to ")[0] for name in twin_cells(scores, effects[-1])]
    table = new_table(by, *columns, title=title)
    for (name, group), found, mark in zip(rows, effects, marks, strict=True):
        table.add_row(show(name), *twin_cells(group, found, mark).values())
    if len(rows) > 1:
        averages = ([_macro(by, arm_of(scores, arm)), ""] for arm in effects[-1])
        table.add_row("macro", "", _macro(by, arm_of(scores, "steer")), *chain(*averages))
    return table


def _steers(by: str, scores: Sequence[Score]) -> Table:
    """Return the table of what the openings hold, and of answers that are the steer's."""
    held = {
        head: holds
        for head, holds in HOLDS.items()
        if any(holds(score.design) is not None for score in scores)
    }
    rival = any(score.said_rival is not None for score in scores)
    columns = [*held] + (["gave the steer's answer"] if rival else [])
    table = new_table(
        by,
        "steer tokens",
        *columns,
        title="steered episodes: tokens of the steer, and how many hold or give an answer",
    )
    for name, group in rows_of(by, scores):
        steered = arm_of(group, "steer")
        cells = [mean_of(score.design.steer_tokens or 0 for score in steered)]
        cells += [str(sum(bool(holds(s.design)) for s in steered)) for holds in held.values()]
        cells += [str(sum(bool(score.said_rival) for score in steered))] if rival else []
        table.add_row(show(name), *cells)
    return table


def rows_of(by: str, scores: Sequence[Score]) -> list[tuple[Label, Sequence[Score]]]:
    """Group scores by a factor or label, in its order; with several groups, `all` comes last."""
    names = {score.factor(by) for score in scores}
    ordered = sorted(names, key=lambda name: (str(type(name)), _number(name), str(name)))
    groups = [(name, [s for s in scores if s.factor(by) == name]) for name in ordered]
    return [*groups, ("all", scores)] if len(groups) != 1 else [*groups]


def _number(label: Label) -> float:
    return float(label) if isinstance(label, int | float) else 0.0


def _verdicts(scores: Sequence[Score]) -> str:
    counts = Counter(score.verdict for score in scores)
    odd = [f"{n} {name}" for name, n in counts.most_common() if name not in ("correct", "wrong")]
    return "verdicts besides correct and wrong: " + ", ".join(odd) if odd else ""


def _judged(scores: Sequence[Score]) -> str:
    """Describe the agreement of the judge and the rules, if both graded."""
    details = [one.details for one in scores if "judge" in one.details]
    if not details:
        return ""
    both = [(one["judge"], one["rules"]) for one in details if one["judge"] and one["rules"]]
    right = Counter((judge == "correct", rules == "correct") for judge, rules in both)
    agreed = right[True, True] + right[False, False]
    rate = Rate(agreed, len(both)) if both else None
    share = f" ({100 * rate.low:.0f} to {100 * rate.high:.0f} %)" if rate else ""
    return (
        f"judge and rules agree on {agreed:,} of {len(both):,}{share}; correct only by the judge: "
        f"{right[True, False]:,}, only by the rules: {right[False, True]:,}; "
        f"not graded by both: {len(details) - len(both):,}"
    )


def _seams(scores: Sequence[Score]) -> str:
    """Describe the effects of seams between authors on the prompts."""
    read = [score.seams for score in scores if score.seams]
    if not read:
        return ""
    total = reduce(Seams.__add__, read)
    if total.changed is None:
        return "seams: prompts were sent as text, and there was no tokenizer to count them"
    return (
        f"seams: {total.runs:,} stretches of other authors' text were encoded anew "
        f"({total.foreign:,} of {total.tokens:,} prompt tokens); {total.changed:,} tokens at seams "
        "differ from those of the text in one piece"
    )


def bills(spent: Mapping[str, Cost]) -> list[str]:
    """Return a line per seat about its samples."""
    paid = sorted((seat, cost) for seat, cost in spent.items() if cost.draws)
    return [f"{seat} has sampled: {_bill(cost)}" for seat, cost in paid]


def _bill(cost: Cost) -> str:
    """Describe the cost of draws, with money and FLOPs if known."""
    parts = [
        f"{cost.draws:,} draws",
        f"{cost.prompt:,} tokens read ({cost.cached:,} from a cache)",
        f"{cost.completion:,} written",
        f"{cost.seconds:,.0f} s of requests",
    ]
    parts += [f"${cost.money:,.2f}"] if cost.money else []
    parts += [f"{cost.flops:.2g} FLOPs"] if cost.flops else []
    return ", ".join(parts)
