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
        self._said = ""

    def __call__(self, said: str) -> None:
        """Show it."""
        if not self._console.is_terminal:
            self._plain(said.partition(" (")[0])
        elif not said:
            self._end()
        elif self._status is None:
            self._status = self._console.status(escape(safe(said)))
            self._status.start()
        else:
            self._status.update(escape(safe(said)))

    def _plain(self, said: str) -> None:
        """Print each stage once, without its seconds."""
        if said and said != self._said:
            self._console.print(safe(said), markup=False, highlight=False)
        self._said = said or self._said

    def _end(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
