"""Progress while a run works: a bar a stage, with rate and time left; plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

QUIET = 5.0
"""Seconds between two plain lines of one stage."""


@dataclass
class _Stage:
    """How far one stage is."""

    name: str
    task: TaskID
    total: int = 0
    open: bool = False
    """Whether there may be more steps than are known."""
    stored: int = 0
    fresh: int = 0
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        return self.stored + self.fresh

    @property
    def ended(self) -> bool:
        return self.done == self.total and not self.open

    @property
    def count(self) -> str:
        """Steps done and known."""
        return f"{self.done}/{self.total}{'+' if self.open else ''}"

    @property
    def pace(self) -> str:
        """Say how fast the steps of this start are made, and how long the rest takes."""
        if not self.fresh:
            return ""
        rate = self.fresh / max(time.monotonic() - self.began, 1e-6)
        if self.ended:
            return f"{rate:,.1f}/s"
        left = (self.total - self.done) / rate
        return f"{rate:,.1f}/s, {left:,.0f} s left{' or more' if self.open else ''}"


class Live:
    """Tells how far the stages of a run are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", style="progress.download"),
            TextColumn("{task.fields[pace]}", style="dim"),
            console=console,
            disable=not console.is_terminal,
        )
        self._stages: dict[str, _Stage] = {}

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

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        """Add to the steps that a stage has; `more` says that others may still come to light."""
        if stage not in self._stages:
            task = self._progress.add_task(stage, total=None, count="", pace="")
            self._stages[stage] = _Stage(stage, task)
        here = self._stages[stage]
        here.total += steps
        here.open = more
        self._show(here)

    def step(self, stage: str, *, stored: bool = False) -> None:
        """Finish one step; one that an earlier start finished says nothing about the speed."""
        here = self._stages[stage]
        if stored:
            here.stored += 1
        else:
            here.fresh += 1
        self._show(here)

    def _show(self, here: _Stage) -> None:
        if self._console.is_terminal:
            self._progress.update(
                here.task,
                completed=here.done,
                total=None if here.open and not here.total else here.total,
                count=here.count,
                pace=here.pace,
            )
        elif here.total and (here.ended or (here.fresh and time.monotonic() - here.said > QUIET)):
            here.said = time.monotonic()
            aside = ", ".join(
                filter(None, (here.pace, f"{here.stored} from before" if here.stored else ""))
            )
            self._console.print(f"{here.name}: {here.count}{f' ({aside})' if aside else ''}")
