"""The terminal, from which a human in a seat writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
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
    """Tell whether a human types at the terminal, which a live display would overwrite."""
    return any(isinstance(one, Human) for one in team.seats.values())


def program_name() -> str:
    """Return how this shell can call `collab` again: by its name, or else by its path."""
    here = Path(sys.argv[0])
    found = shutil.which("collab")
    if found and here.exists() and Path(found).resolve() == here.resolve():
        return "collab"
    if here.name == "__main__.py":
        return f"{sys.executable} -m collab"
    if not here.is_file():
        return "collab"
    path = os.path.relpath(here)
    return str(here.absolute()) if path.startswith("..") else path


class Terminal:
    """Shows the new part of a trajectory and reads the human's text, one turn at a time.

    Text ends with an empty line, or with the end of the input.
    """

    def __init__(self, read: TextIO | None = None, console: Console | None = None) -> None:
        self._read = read or sys.stdin
        self._console = console or Console(stderr=True)
        self._shown: tuple[Question | None, tuple[Event, ...]] = (None, ())
        self._keyboard = asyncio.Lock()  # several episodes may ask at once

    async def listen(self, turn: Turn, wanted: str) -> str:
        """Return the text that the human types.

        Raises:
            CollabError: The input has ended.
        """
        async with self._keyboard:
            self._show(turn)
            self._console.print(Text(f"[{turn.seat}] {safe(wanted)}; then an empty line:", "bold"))
            return await asyncio.to_thread(self._read_text)

    def _show(self, turn: Turn) -> None:
        """Show the part that is new since the last turn; of a new episode, the whole."""
        question, before = self._shown
        log = turn.trajectory.log
        if question != turn.question or log[: len(before)] != before:
            before = ()
            self._console.print(Text(safe(turn.question.messages[-1].content), style="dim"))
        self._console.print(render_trajectory(turn.trajectory, before))
        self._shown = turn.question, log

    def _read_text(self) -> str:
        lines: list[str] = []
        while line := self._read.readline():
            if not line.strip():
                if lines:
                    break
                continue
            lines.append(line)
        if not lines:
            raise CollabError("the human's seat got no text: the input of the terminal has ended")
        return "".join(lines)
