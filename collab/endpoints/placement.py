"""Where a model reads the text of others: in its think block, in tags there, or in the user's turn.

The trajectory stays the same; only the prompt of a reader changes. The reader's own units, their
order and their ids stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field

from collab.core.inserted_text import InsertedText
from collab.core.settings import Settings
from collab.core.trajectory import Message, Phase, Trajectory, Unit
from collab.endpoints.dialects import Dialect, PromptLayout, text_of, visible
from collab.endpoints.request_format import RequestFormat

Read = tuple[Sequence[Message], Sequence[Unit]]


class InThink(Settings):
    """In the think block, as if the reader had thought it."""

    kind: Literal["think"] = "think"

    def place(self, messages: Sequence[Message], units: Sequence[Unit], seat: str) -> Read:
        """Leave everything where it is."""
        return messages, units


class InTags(Settings):
    """In the think block, each run of others' text between two tags."""

    kind: Literal["tags"]
    open: InsertedText = "\n<note>\n"
    """The text before the run; `{author}` is the seat that wrote it."""
    close: InsertedText = "\n</note>\n"
    """The text after the run."""

    def place(self, messages: Sequence[Message], units: Sequence[Unit], seat: str) -> Read:
        """Put the tags around the text of others."""
        placed: list[Unit] = []
        for author, run in groupby(units, key=lambda unit: unit.author):
            own = author == seat
            placed += [] if own else [self._tag(self.open, author)]
            placed += run
            placed += [] if own else [self._tag(self.close, author)]
        return messages, placed

    def _tag(self, tag: str, author: str) -> Unit:
        return Unit(author, tag.replace("{author}", author), "inserted")


class InUserTurn(Settings):
    """Each run of others' text under a heading after the question; the think block has the rest."""

    kind: Literal["user"]
    heading: str = "\n\nNotes of somebody else on this:\n"
    """The text before the run; `{author}` is the seat that wrote it."""

    def place(self, messages: Sequence[Message], units: Sequence[Unit], seat: str) -> Read:
        """Move the text of others to the end of the last message."""
        notes = ""
        for author, run in groupby(units, key=lambda unit: unit.author):
            if author != seat:
                notes += self.heading.replace("{author}", author) + text_of(run)
        *before, last = messages
        told = [*before, replace(last, content=last.content + notes)]
        return told, [unit for unit in units if unit.author == seat]


Placement = Annotated[InThink | InTags | InUserTurn, Field(discriminator="kind")]


@dataclass(frozen=True)
class PlacedDialect:
    """A dialect whose reader finds others' text elsewhere."""

    inner: Dialect
    placement: InThink | InTags | InUserTurn

    @property
    def name(self) -> str:
        """The dialect's own."""
        return self.inner.name

    @property
    def form(self) -> RequestFormat:
        """The dialect's own."""
        return self.inner.form

    @property
    def continues(self) -> bool:
        """Whether the dialect does."""
        return self.inner.continues

    @property
    def close_ids(self) -> tuple[int, ...]:
        """The dialect's own."""
        return self.inner.close_ids

    def prompt(
        self, messages: Sequence[Message], trajectory: Trajectory, phase: Phase, seat: str
    ) -> PromptLayout:
        """Lay out the trajectory as `seat` reads it."""
        told, units = self.placement.place(messages, visible(trajectory.units, seat), seat)
        return self.inner.prompt(told, replace(trajectory, units=tuple(units)), phase, seat)
