"""Numbers for trackers: those of an episode, and those in the cells of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping

from collab.core.cost import Cost
from collab.core.trajectory import Json
from collab.episode.engine import Episode
from collab.scenarios.base import Score

NUMBER = r"[+−-]?\d+(?:,\d{3})*(?:\.\d+)?"
CELL = re.compile(rf"({NUMBER})(?:\s*\[({NUMBER}), ?({NUMBER})\])?")
UNFIT = re.compile(r"[^\w/. -]+")


def episode_metrics(episode: Episode, score: Score) -> dict[str, float]:
    """Return the numbers of an episode: whether it is correct, and tokens, units and dollars."""
    money = sum(Cost.of(costs.values()).money for costs in episode.costs.values())
    return {
        "episode/correct": float(score.correct),
        "episode/tokens": float(score.tokens),
        "episode/units": float(len(episode.trajectory.units)),
        "episode/dollars": float(money),
    }


def table_metrics(cells: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers of a table's cells, with the ends of their intervals.

    Examples:
        >>> table_metrics({"solved": "74 [66,81]", "tokens": "1,204"})
        {'table/solved': 74.0, 'table/solved/low': 66.0, 'table/solved/high': 81.0,
         'table/tokens': 1204.0}
    """
    found: dict[str, float] = {}
    for name, cell in cells.items():
        if match := CELL.match(cell.strip()):
            key = f"table/{UNFIT.sub('', name).strip()}"
            for end, text in zip(("", "/low", "/high"), match.groups(), strict=True):
                if text is not None:
                    found[key + end] = float(text.replace(",", "").replace("−", "-"))
    return found


def flat(config: Mapping[str, Json], before: str = "") -> dict[str, str]:
    """Return the settings of a config by their full names, as text."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        elif value is not None:
            found[f"{before}{key}"] = str(value)
    return found
