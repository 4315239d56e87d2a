"""The terminal, where a human has a seat."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

from collab.core.trajectory import Event, Question
from collab.episode.reasoner import Turn
from collab.episode.team import Team
from collab.errors import CollabError
from collab.reasoners.human import Human
from collab.report.trajectory import render_trajectory, safe


def is_wanted(team: Team) -> bool:
    """Say whether somebody types at the terminal: what is drawn again and again would wipe it."""
    return any(isinstance(one, Human) for one in team.seats.values())


class Terminal:
    """Shows what is new of a trajectory and reads what is typed, one question at a time.

    Text ends with an empty line, or with the end of the input.
    """

    def __init__(self, read: TextIO | None = None, console: Console | None = None) -> None:
        self._read = read or sys.stdin
        self._console = console or Console(stderr=True)
        self._shown: tuple[Question | None, tuple[Event, ...]] = (None, ())
        self._one = asyncio.Lock()  # several episodes may ask at once; there is one keyboard

    async def listen(self, turn: Turn, wanted: str) -> str:
        """Return what the human types.

        Raises:
            CollabError: The input is at its end.
        """
        async with self._one:
            self._show(turn)
            self._console.print(Text(f"[{turn.seat}] {safe(wanted)}; then an empty line:", "bold"))
            return await asyncio.to_thread(self._lines)

    def _show(self, turn: Turn) -> None:
        """Show what followed on what was shown last; all of it where that was another episode."""
        question, before = self._shown
        log = turn.trajectory.log
        if question != turn.question or log[: len(before)] != before:
            before = ()
            self._console.print(Text(safe(turn.question.messages[-1].content), style="dim"))
        self._console.print(render_trajectory(turn.trajectory, before))
        self._shown = turn.question, log

    def _lines(self) -> str:
        lines: list[str] = []
        while line := self._read.readline():
            if not line.strip():
                if lines:
                    break
                continue
            lines.append(line)
        if not lines:
            raise CollabError("nobody is at the terminal: its input is at an end")
        return "".join(lines)
