"""The protocol of hooks: code that follows a run, such as an experiment tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from collab.core.trajectory import Json
from collab.episode.engine import Episode
from collab.scenarios.base import Score

RunEnd = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run at its start."""

    name: str
    """The folder under `runs`, such as `demo/recoverability-distractor-0a1b2c3d`."""
    title: str
    folder: Path
    config: Mapping[str, Json]
    """The config, without secrets and without the hooks."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run at the end of one start."""

    state: RunEnd
    """`failed`: some cases could not be played; `stopped`: an error or a signal ended the start."""
    episodes: int
    """Finished episodes, over all starts."""
    failures: Mapping[str, str]
    """The error of each case that could not be played."""


@runtime_checkable
class RunHooks(Protocol):
    """Follow a run. Each hook is called in a thread of its own, in this order.

    `run_started` comes first and `run_ended` last. An episode of an earlier start is not reported
    again, but counts in the table. An error is logged once and never ends the run.

    Examples:
        >>> from collab import Settings
        >>> class PrintTable(Settings):
        ...     def run_started(self, run): ...
        ...     def episode_ended(self, episode, score): ...
        ...     def table_changed(self, cells):
        ...         print(dict(cells))
        ...     def run_ended(self, run): ...
        >>> PrintTable().table_changed({"solved": "74 [66,81]"})
        {'solved': '74 [66,81]'}
    """

    def run_started(self, run: StartedRun) -> None:
        """Take note of the start, before the first episode."""
        ...

    def episode_ended(self, episode: Episode, score: Score) -> None:
        """Take note of an episode that was played and graded."""
        ...

    def table_changed(self, cells: Mapping[str, str]) -> None:
        """Take note of the main results, by name: rates in percent with 95 % intervals, as text."""
        ...

    def run_ended(self, run: EndedRun) -> None:
        """Take note of the end of this start."""
        ...
