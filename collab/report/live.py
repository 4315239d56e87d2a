"""Progress while a run works: a bar a stage, with rate and time left; plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

QUIET = 5.0
"""Seconds between two plain lines of one stage."""


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="dim")


class Live:
    """Tells how far the stages of a run are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name, self._done, self._total = "", 0, 0
        self._began = self._said = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, total: int) -> None:
        """Start a stage of `total` steps."""
        self._name, self._done, self._total = name, 0, total
        self._began = self._said = time.monotonic()
        self._task = self._progress.add_task(name, total=total)

    def step(self, note: str = "") -> None:
        """Finish one step of it."""
        self._done += 1
        if self._task is not None:
            self._progress.update(self._task, advance=1)
        if not self._console.is_terminal:
            self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if self._done < self._total and now - self._said < QUIET:
            return
        self._said = now
        rate = self._done / max(now - self._began, 1e-6)
        left = (self._total - self._done) / rate
        ending = "" if self._done == self._total else f", {left:.0f} s left"
        self._console.print(f"{self._name}: {self._done}/{self._total} ({rate:,.1f}/s{ending})")
