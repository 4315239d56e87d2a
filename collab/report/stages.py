"""The progress of a run's stages: a bar each on a terminal, else plain lines."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

QUIET = 5.0
"""Seconds between two plain lines of one stage."""


@dataclass
class _Stage:
    """The progress of one stage."""

    name: str
    total: int = 0
    open: bool = False
    """Whether the total may still grow."""
    stored: int = 0
    fresh: int = 0
    began: float = 0.0
    """When the first step of this start finished."""
    printed_at: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    """When the last step finished."""

    @property
    def done(self) -> int:
        return self.stored + self.fresh

    @property
    def ended(self) -> bool:
        return self.done == self.total and not self.open

    @property
    def count(self) -> str:
        """Finished steps and all known ones."""
        return f"{self.done}/{self.total}{'+' if self.open else ''}"

    @property
    def pace(self) -> str:
        """Describe the speed of this start and the time left."""
        if self.fresh < 2:
            return ""
        until = self.last if self.ended else time.monotonic()
        rate = (self.fresh - 1) / max(until - self.began, 1e-6)
        if self.ended or self.open:
            return f"{rate:,.1f}/s"
        left = timedelta(seconds=round((self.total - self.done) / rate))
        return f"{rate:,.1f}/s, {left} left"


class StageBars:
    """The progress of a run: a bar per stage on a terminal, else occasional plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: dict[str, _Stage] = {}

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        """Add steps to a stage; with `more`, the total may still grow."""
        here = self._stages.setdefault(stage, _Stage(stage))
        here.total += steps
        here.open = more
        self._print(here)

    def step(self, stage: str, *, stored: bool = False) -> None:
        """Finish a step. A stored step, from an earlier start, does not count for the speed."""
        here = self._stages[stage]
        if stored:
            here.stored += 1
        else:
            here.fresh += 1
        here.last = time.monotonic()
        if here.fresh == 1:
            here.began = here.last
        self._print(here)

    def __rich__(self) -> Table:
        """Return a bar per stage, with its count, its rate and the time left."""
        bars = Table.grid(padding=(0, 1))
        for column in ("", "", "progress.download", "dim"):
            bars.add_column(style=column, no_wrap=True)
        for here in self._stages.values():
            waits = here.open and not here.total
            bar = ProgressBar(here.total or 1, 0 if waits else here.done or here.ended, 30)
            bars.add_row(f"{here.name:<22}", bar, here.count, here.pace)
        return bars

    def _print(self, here: _Stage) -> None:
        if self._console.is_terminal or not here.total:
            return
        if here.ended or (here.fresh and time.monotonic() - here.printed_at > QUIET):
            here.printed_at = time.monotonic()
            pace = ", ".join(
                filter(None, (here.pace, f"{here.stored} from before" if here.stored else ""))
            )
            self._console.print(f"{here.name}: {here.count}{f' ({pace})' if pace else ''}")
