"""The progress of a server's start: one changing line on a terminal, else a few lines."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from collab.report.trajectory import safe


class StartProgress:
    """Receives the progress of a start; the empty text ends it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._printed = ""

    def __call__(self, stage: str) -> None:
        """Show it."""
        if not self._console.is_terminal:
            self._plain(stage.partition(" (")[0])
        elif not stage:
            self._end()
        elif self._status is None:
            self._status = self._console.status(escape(safe(stage)))
            self._status.start()
        else:
            self._status.update(escape(safe(stage)))

    def _plain(self, stage: str) -> None:
        """Print each stage once, without its seconds."""
        if stage and stage != self._printed:
            self._console.print(safe(stage), markup=False, highlight=False)
        self._printed = stage or self._printed

    def _end(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
