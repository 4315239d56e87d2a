"""A run's scores as tables: every rate with its n, its interval and the matched controls beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import mean

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collab.engine import Label
from collab.scenario import Score
from collab.stats import Rate, paired_effect

ARMS = ("none", "placebo")
TITLES = {"none": "control: no steer", "placebo": "control: placebo"}


def summary(title: str, by: str, scores: Sequence[Score], notes: Sequence[str]) -> RenderableType:
    """Return a run's table with its notes."""
    arms = {score.labels.get("arm") for score in scores}
    table = _twin(by, scores) if "steer" in arms else _plain(by, scores)
    table.title = title
    table.title_justify = "left"
    lines = [_verdicts(scores), *notes]
    return Group(table, *(Text(f"  {line}", style="dim") for line in lines if line))


def render(renderable: RenderableType, console: Console) -> None:
    """Print a table with a blank line around it."""
    console.print()
    console.print(renderable)


def _plain(by: str, scores: Sequence[Score]) -> Table:
    """Make the table of a run without arms: Pass@1 by group."""
    table = _table(by, "episodes", "questions", "solved % [95 %]", "tokens")
    for name, group in [*_groups(by, scores), ("all", scores)]:
        questions = {score.question for score in group}
        table.add_row(
            _show(name), str(len(group)), str(len(questions)), _rate(group), _tokens(group)
        )
    return table


def _twin(by: str, scores: Sequence[Score]) -> Table:
    """Make the table of a twin test: a row a point or share, the controls beside."""
    present = [arm for arm in ARMS if any(score.labels.get("arm") == arm for score in scores)]
    columns = ["n", "solved % [95 %]"]
    for arm in present:
        columns += [TITLES[arm], f"steer − {arm}, paired"]
    held = [key for key in ("own_holds_answer", "steer_holds_answer") if _labelled(scores, key)]
    columns += [key.replace("_", " ") for key in held]
    rival = any(score.said_rival is not None for score in scores)
    columns += ["said the steer's"] if rival else []
    table = _table(by, *columns, "steer tokens")
    for name, group in [*_groups(by, scores), ("all", scores)]:
        table.add_row(_show(name), *_twin_cells(group, present, held, rival))
    return table


def _twin_cells(
    group: Sequence[Score], present: Sequence[str], held: Sequence[str], rival: bool
) -> list[str]:
    steered = _arm(group, "steer")
    cells = [str(len(steered)), _rate(steered)]
    for arm in present:
        control = _arm(group, arm)
        cells += [_rate(control), _effect(steered, control)]
    cells += [str(sum(bool(score.labels.get(key)) for score in steered)) for key in held]
    cells += [str(sum(bool(score.said_rival) for score in steered))] if rival else []
    lengths = [int(score.labels["steer_tokens"] or 0) for score in steered]
    return [*cells, f"{mean(lengths):.0f}" if lengths else "–"]


def _table(by: str, *columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(by)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _groups(by: str, scores: Sequence[Score]) -> list[tuple[Label, list[Score]]]:
    names = sorted({score.labels.get(by) for score in scores}, key=lambda name: (str(type(name)), name))
    return [(name, [s for s in scores if s.labels.get(by) == name]) for name in names]


def _arm(scores: Sequence[Score], arm: str) -> list[Score]:
    return [score for score in scores if score.labels.get("arm") == arm]


def _labelled(scores: Sequence[Score], key: str) -> bool:
    return any(key in score.labels for score in scores)


def _rate(scores: Sequence[Score]) -> str:
    if not scores:
        return "–"
    rate = Rate(sum(score.correct for score in scores), len(scores))
    return f"{rate.value:.1%} [{rate.low:.0%}, {rate.high:.0%}]".replace("%", "")


def _effect(steered: Sequence[Score], control: Sequence[Score]) -> str:
    """Compare pair by pair, questions as clusters."""
    others = {score.labels["pair"]: score for score in control}
    pairs = [(s, others[s.labels["pair"]]) for s in steered if s.labels["pair"] in others]
    if not pairs:
        return "–"
    effect = paired_effect(
        [one.correct for one, _ in pairs],
        [other.correct for _, other in pairs],
        [one.question for one, _ in pairs],
    )
    return f"{100 * effect.value:+.1f} [{100 * effect.low:+.0f}, {100 * effect.high:+.0f}]"


def _tokens(scores: Sequence[Score]) -> str:
    return f"{mean(score.tokens for score in scores):.0f}" if scores else "–"


def _verdicts(scores: Sequence[Score]) -> str:
    counts = Counter(score.verdict for score in scores)
    odd = [f"{count} {verdict}" for verdict, count in counts.most_common() if verdict not in ("correct", "wrong")]
    return "verdicts besides correct and wrong: " + ", ".join(odd) if odd else ""


def _show(name: Label) -> str:
    return f"{name:g}" if isinstance(name, float) else str(name)
