"""The live display of a run: stages, servers, main results with intervals, latest hand-offs.

The display takes at most one part in fifty of a run's time: whatever is drawn or computed
repeatedly waits many times as long as it took.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from collab.core.cost import Cost
from collab.core.trajectory import Trajectory, Wrote
from collab.episode.engine import Case
from collab.episode.team import Team
from collab.reasoners.model import Model, models_of
from collab.report.hooks.calls import HookCalls
from collab.report.run_json import headline
from collab.report.stages import StageBars
from collab.report.trajectory import safe
from collab.runs.live_view import LiveView, Playing
from collab.runs.run import Played
from collab.scenarios.base import Score

OFTEN = 0.25
"""The shortest time between two drawings (seconds)."""
REST = 200
"""The wait between two computations, as a multiple of their duration."""
LATEST = 4
"""The number of hand-offs shown."""
SPAN = 10.0
"""The window of the token rate (seconds)."""


@runtime_checkable
class ServerLoad(Protocol):
    """The state of a server, or of several replicas."""

    @property
    def load(self) -> int:
        """Requests in progress or waiting."""
        ...

    @property
    def crowded(self) -> int:
        """Responses 429 (too many requests)."""
        ...


class RunProgress:
    """The observer of a run, which displays it on a terminal.

    Args:
        console: The console; without a terminal, plain lines show the stages.
        live_view: The live view for other processes.
        scores: The scores of earlier starts.
        hooks: The calls of the run's hooks.
    """

    def __init__(
        self,
        console: Console,
        live_view: LiveView | None = None,
        scores: Iterable[Score] = (),
        hooks: HookCalls | None = None,
    ) -> None:
        self._console, self._live_view, self._hooks = console, live_view, hooks
        self._bars = StageBars(console)
        self._meters: list[LoadMeter] = []
        self._scores = list(scores)
        self._headline = ""
        self._playing: dict[str, Playing] = {}
        self._handed: deque[str] = deque(maxlen=LATEST)

    def expect(self, stage: str, steps: int, *, more: bool = False) -> None:
        """Add steps to a stage; with `more`, the total may still grow."""
        self._bars.expect(stage, steps, more=more)

    def step(self, stage: str, *, stored: bool = False) -> None:
        """Finish a step. A stored step, from an earlier start, does not count for the speed."""
        self._bars.step(stage, stored=stored)

    def grew(self, case: Case, trajectory: Trajectory) -> None:
        """Observe an episode in progress."""
        self._playing[case.id] = Playing(case.id, case.question.messages, trajectory)
        last, units = trajectory.log[-1], trajectory.units
        if isinstance(last, Wrote) and len(units) > 1 and units[-1] is last.unit:
            before, now = units[-2].author, units[-1].author
            if before != now:
                self._handed.append(f"{case.id}  {before} → {now}: {last.unit.why}")

    def ended(self, case: Case, played: Played | None) -> None:
        """Observe a finished episode; None: it failed."""
        playing = self._playing.pop(case.id, None)
        if played:
            self._scores.append(played[1])
            if self._hooks:
                self._hooks.episode(*played)
        if playing and self._live_view:
            finish, verdict = (played[0].finish, played[1].verdict) if played else ("failed", "")
            self._live_view.end(playing, finish, verdict)

    @asynccontextmanager
    async def watching(self, team: Team | None = None) -> AsyncIterator[RunProgress]:
        """Display the run until it ends; only its stages stay on the screen."""
        models = sorted(models_of(team).items()) if team else ()
        self._meters = [LoadMeter(seat, model) for seat, model in models]
        on_screen = self._console.is_terminal and not self._console.quiet
        with (
            Screen(console=self._console, auto_refresh=False)
            if on_screen
            else nullcontext() as screen
        ):
            works = [lambda: self._look(screen), *([self._count] if on_screen else [])]
            tasks = [asyncio.create_task(_again(work)) for work in works]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                if screen:
                    screen.update(self._bars, refresh=True)

    def __rich__(self) -> Group:
        """Return the whole display."""
        servers = Table.grid(padding=(0, 2))
        for meter in self._meters:
            servers.add_row(
                Text(meter.seat, "bold"), *(Text(part, "dim") for part in meter.parts())
            )
        lines = [self._headline, *self._handed]
        lines_shown = (
            Text(safe(line), "dim" if n else "", no_wrap=True, overflow="ellipsis")
            for n, line in enumerate(lines)
        )
        return Group(self._bars, servers, *lines_shown)

    def _look(self, screen: Screen | None) -> None:
        if self._live_view:
            self._live_view.show(self._playing)
        if screen:
            screen.update(self, refresh=True)

    def _count(self) -> None:
        cells = headline(self._scores) if self._scores else {}
        self._headline = "   ".join(f"{name} {cell}" for name, cell in cells.items())


@dataclass
class LoadMeter:
    """A meter of the servers of one seat's model."""

    seat: str
    model: Model
    clock: Callable[[], float] = time.monotonic
    _written: deque[tuple[float, int]] = field(default_factory=deque)

    def parts(self) -> Iterator[str]:
        """Yield the parts of the description."""
        endpoint, spent = self.model.endpoint, self.model.account.spent
        if isinstance(endpoint, ServerLoad):
            yield f"{endpoint.load} in flight"
        yield f"{self._rate(spent):,.0f} tokens/s"
        yield f"{100 * spent.cached / spent.prompt:.0f} % cached" if spent.prompt else "– cached"
        yield f"${spent.money:,.2f}" if spent.money else f"{spent.completion:,} written"
        if isinstance(endpoint, ServerLoad) and endpoint.crowded:
            yield f"{endpoint.crowded} × too busy (429)"

    def _rate(self, spent: Cost) -> float:
        """Return the recent rate of tokens (per second)."""
        now = self.clock()
        self._written.append((now, spent.completion))
        while now - self._written[0][0] > SPAN:
            self._written.popleft()
        then, before = self._written[0]
        return (spent.completion - before) / (now - then) if now > then else 0.0


async def _again(work: Callable[[], None]) -> None:
    """Repeat a computation for ever, in a small share of the time."""
    while True:
        began = time.perf_counter()
        work()
        await asyncio.sleep(max(OFTEN, REST * (time.perf_counter() - began)))
