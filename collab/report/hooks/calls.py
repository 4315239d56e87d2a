"""Call the hooks of a run in threads, so that no hook can delay or harm the run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from queue import Empty, SimpleQueue

from collab.core.release import extra
from collab.core.secret import hide_text
from collab.episode.engine import Episode
from collab.report.hooks import EndedRun, RunHooks, StartedRun
from collab.report.run_json import headline
from collab.runs.run import Played
from collab.scenarios.base import Score

log = logging.getLogger(__name__)
GRACE = 30.0
"""The time that all hooks together have after the end of a run (seconds)."""
REST = 50
"""The wait between two computations of the table, as a multiple of their duration."""
EXTRAS = ("mlflow", "trackio", "wandb")
"""Packages that an extra of their name installs."""


class HookCalls:
    """The calls of all hooks of one start.

    Args:
        hooks: The hooks by name.
        scores: The scores of earlier starts, which count in the table.
        grace: The time that the hooks have after the end of the run (seconds).
    """

    def __init__(
        self, hooks: Mapping[str, RunHooks], scores: Iterable[Score] = (), grace: float = GRACE
    ) -> None:
        earlier = list(scores) if hooks else []
        self._callers = [_Caller(name, hook, earlier) for name, hook in hooks.items()]
        self._grace = grace

    def started(self, run: StartedRun) -> None:
        """Report the start of the run."""
        for caller in self._callers:
            caller.begin(run)

    def episode(self, episode: Episode, score: Score) -> None:
        """Report an episode."""
        for caller in self._callers:
            caller.queue.put((episode, score))

    def ended(self, run: EndedRun) -> None:
        """Report the end of the run, and wait for the hooks for a limited time."""
        until = time.monotonic() + self._grace
        for caller in self._callers:
            caller.queue.put(run)
        for caller in self._callers:
            caller.finish(max(0.0, until - time.monotonic()))


class _Caller:
    """The thread of one hook. It is a daemon: a hook that hangs does not keep the process."""

    def __init__(self, name: str, hook: RunHooks, scores: Iterable[Score]) -> None:
        self.queue: SimpleQueue[Played | EndedRun] = SimpleQueue()
        self._name, self._hook, self._scores = name, hook, list(scores)
        self._failed = False
        self._cells: Mapping[str, str] = {}
        self._due = 0.0
        self._counted = 0
        self._thread: threading.Thread | None = None

    def begin(self, run: StartedRun) -> None:
        self._thread = threading.Thread(
            target=self._work, args=(run,), name=f"hook {self._name}", daemon=True
        )
        self._thread.start()

    def finish(self, seconds: float) -> None:
        if self._thread is None:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("hook %s has not finished; the run does not wait for it", self._name)

    def _work(self, run: StartedRun) -> None:
        self._call(lambda: self._hook.run_started(run))
        while not isinstance(item := self._next(), EndedRun):
            episode, score = item
            self._scores.append(score)
            self._call(lambda: self._hook.episode_ended(episode, score))  # noqa: B023 - called now
        self._call(self._table)
        self._call(lambda: self._hook.run_ended(item))

    def _next(self) -> Played | EndedRun:
        """Return the next item; compute the table while there is none, in a share of the time."""
        while True:
            waits = len(self._scores) > self._counted
            try:
                return self.queue.get(
                    timeout=max(0.0, self._due - time.monotonic()) if waits else None
                )
            except Empty:
                began = time.monotonic()
                self._call(self._table)
                now = time.monotonic()
                self._due = now + REST * (now - began)

    def _table(self) -> None:
        self._counted = len(self._scores)
        cells = headline(self._scores) if self._scores else {}
        if cells != self._cells:
            self._cells = cells
            self._hook.table_changed(cells)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # a hook may raise anything
            if not self._failed:
                said = hide_text(f"{type(error).__name__}: {error}")
                if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
                    said += f" ({extra(error.name)})"
                log.warning("hook %s failed (logged once): %s", self._name, said)
            self._failed = True
