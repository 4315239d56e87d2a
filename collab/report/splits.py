"""Further tables of a twin test: by solve count, leak, guide and cost.

Source: paper Tables 2, 9, 14 and 16 (solve counts, leaks, guides); App. E.3 (answer forcing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from rich.table import Table

from collab.analysis.estimates import arm_of, effect_of, matched, share_of
from collab.core.design import Design, Label
from collab.report.formatting import (
    CONTROLS,
    cell,
    difference,
    effects_of,
    mean_of,
    new_table,
    rate,
    twin_cells,
)
from collab.report.trajectory import safe
from collab.scenarios.base import Score


@dataclass(frozen=True, slots=True)
class _Split:
    """A factor whose values are the rows of a table."""

    value: Callable[[Design], Label]
    row: Callable[[Label], str]
    """Formats the row of a value."""
    shared: bool = False
    """Whether to compare only problems on which every guide has a trajectory."""


SPLITS = (
    _Split(lambda design: design.solved, lambda value: f"solved {value} times alone"),
    _Split(
        lambda design: design.own_states_answer,
        lambda value: f"own opening states the answer: {_yes(value)}",
    ),
    _Split(
        lambda design: design.guide,
        lambda value: f"guide {value}, problems of all guides",
        shared=True,
    ),
    _Split(
        lambda design: design.teacher,
        lambda value: f"{value} teacher, problems of all guides",
        shared=True,
    ),
)
LEVELS: Mapping[str, Callable[[Design], bool | None]] = {
    "mentioned in the steer": lambda design: design.steer_holds_answer,
    "stated as a result": lambda design: design.steer_states_answer,
}
"""How far a steer gives the answer away, by the name of the row."""


def splits(scores: Sequence[Score]) -> list[Table]:
    """Return the tables that follow a twin test's main table."""
    made = [_groups(scores), _leaks(scores), _costs(scores)]
    return [table for table in made if table is not None]


def _groups(scores: Sequence[Score]) -> Table | None:
    """Return the table by solve count, own opening, guide and teacher."""
    rows = list(_rows(scores))
    if not rows:
        return None
    effects = effects_of(scores, scores)
    columns = [name.partition(" to ")[0] for name in twin_cells(scores, effects)]
    table = new_table("cases", *columns, title="% solved by group of cases [95 % interval]")
    for name, group in rows:
        found = effects_of(group, scores)
        table.add_row(safe(name), *twin_cells(group, found).values())
    return table


def _rows(scores: Sequence[Score]) -> Iterator[tuple[str, Sequence[Score]]]:
    for split in SPLITS:
        among = [one for one in scores if not split.shared or one.design.by_all_guides]
        values = {split.value(one.design) for one in arm_of(among, "steer")} - {None}
        if len(values) > 1:
            for value in sorted(values, key=str):
                yield split.row(value), [one for one in among if split.value(one.design) == value]


def _leaks(scores: Sequence[Score]) -> Table | None:
    """Return the two-by-two table of guides' steers: answer given away or not, solved or not.

    The last column is the paper's: the share solved minus the share that gives the answer away.
    """
    steered = [one for one in arm_of(scores, "steer") if one.design.guide is not None]
    if not steered:
        return None
    columns = ["leaked", "solved", "leak-free", "solved ", "difference", "solved - leaked"]
    table = new_table(
        "answer", *columns, title="% solved, by whether the steer gives the answer away"
    )
    pairs = matched(scores, "none")
    for name, leaked in _levels(scores, steered):
        held = [one for one, is_so in zip(steered, leaked, strict=True) if is_so]
        free = [one for one, is_so in zip(steered, leaked, strict=True) if not is_so]
        clean = {one.case for one in free}
        lift = effect_of([pair for pair in pairs if pair[0].case in clean])
        less = 100 * (share_of(steered).value - mean(map(float, leaked)))
        table.add_row(
            name,
            *(str(len(held)), rate(held), str(len(free)), rate(free)),
            difference(lift),
            f"{less:+.0f}",
        )
    return table


def _levels(scores: Sequence[Score], steered: Sequence[Score]) -> Iterator[tuple[str, list[bool]]]:
    """Yield each level of leaking, and whether each steer reaches it."""
    for name, reached in LEVELS.items():
        yield name, [bool(reached(one.design)) for one in steered]
    forced = {one.design.pair: one.correct for one in arm_of(scores, "forced")}
    if forced:
        yield "recovered by answer forcing", [forced.get(s.design.pair, False) for s in steered]


def _costs(scores: Sequence[Score]) -> Table | None:
    """Return the table of an episode's cost, by arm."""
    arms = {"steer": "steered", **CONTROLS}
    found = {name: arm_of(scores, arm) for arm, name in arms.items()}
    found = {name: group for name, group in found.items() if group}
    if len(found) < 2:
        return None
    columns = ["solved", "tokens written", "tokens read", "tokens per solved case"]
    table = new_table("arm", *columns, title="cost of an episode")
    for name, group in found.items():
        written = sum(one.tokens for one in group)
        right = sum(one.correct for one in group)
        table.add_row(
            name,
            cell(share_of(group)),
            mean_of(one.tokens for one in group),
            mean_of(one.seams.tokens for one in group if one.seams and one.seams.tokens),
            f"{written / right:.0f}" if right else "–",
        )
    return table


def _yes(value: Label) -> str:
    return "yes" if value else "no"
