"""Offload: a small model thinks, and a bigger one writes where the small one needs it.

Sources: SplitReason (the small model writes `<bigmodel>`; the big one writes up to 512 tokens, and
after every 64 the small one is looked at for `</bigmodel>`), RelayLLM (`<call>n</call>` asks for n
tokens, at most five times), R2R (entropy). `conf/experiment/` has their settings, by these names.
"""

import re
from itertools import takewhile

from pydantic import Field

from collab import (
    AfterUnits,
    Boundary,
    Close,
    Condition,
    Decision,
    Insert,
    Paragraph,
    Sentence,
    Settings,
    Tokens,
    Unit,
    View,
    Write,
    Writer,
)


class Poll(Settings):
    """Ask `main` after each of the helper's units whether it would take the pen back."""

    needs = frozenset({"score"})

    tag: str = Field(min_length=1)
    """What it writes to take it back; stands behind the helper's turn, read by `main` alone."""
    chance: float = Field(default=0.5, gt=0, lt=1)
    """How likely it must be that `main` writes the tag now."""


class Offload(Settings):
    """Let `main` write until `when` holds of what it wrote since the last call; then `helper`.

    `when` is any condition: `Unsure` (entropy), `Says` (keywords), `AfterUnits` or `AfterTokens`
    (length), `Called` (main's own tag, with `until` that `Tag`; only main reads its tags).
    """

    main: Writer = "main"
    helper: Writer = "helper"
    when: Condition = AfterUnits(count=3)
    until: Boundary = Sentence()
    """Where a unit of `main` ends."""
    turn: Boundary = Paragraph()
    """Where a unit of `helper` ends."""
    units: int = Field(default=1, ge=1)
    """Units that the helper writes a call, at most."""
    calls: int | None = Field(default=None, ge=0)
    """Calls that are answered, at most; None: all."""
    asks: str = ""
    """Pattern in main's tag whose first group is the number of tokens that it asks for."""
    poll: Poll | None = None

    async def decide(self, view: View) -> Decision:
        """Give the pen to the helper where it is called, and back when its turn is over."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        turn = _tail(view.units, self.helper)
        if turn:
            return await self._goes_on(view, len(turn))
        since = _tail(view.units, self.main)
        if self._answered(view) != self.calls and self.when.holds(view, since):
            return Write(self.helper, self._length(since), why=f"{self.when!r} holds")
        return Write(self.main, self.until, why=f"{self.main} thinks")

    async def _goes_on(self, view: View, written: int) -> Decision:
        """Let the helper write on, or let main take the pen back."""
        back = written >= self.units
        if self.poll and not back:
            likely = await view.score(self.poll.tag, self.main)
            back = likely.chance >= self.poll.chance
        if not back:
            return Write(self.helper, self.turn, why=f"the helper's unit {written + 1}")
        if self.poll:
            return Insert(
                self.main, self.poll.tag, why=f"{self.main} takes the pen back", signal=True
            )
        return Write(self.main, self.until, why="the helper's turn is over")

    def _answered(self, view: View) -> int:
        """Count the helper's turns."""
        authors = [unit.author for unit in view.units]
        return sum(a == self.helper != b for a, b in zip(authors, ["", *authors], strict=False))

    def _length(self, since: list[Unit]) -> Boundary:
        """Return where the helper's unit ends: where main asked for, if it did."""
        found = re.search(self.asks, since[-1].text) if self.asks and since else None
        return Tokens(count=max(int(found[1]), 1)) if found else self.turn


def _tail(units: tuple[Unit, ...], author: str) -> list[Unit]:
    return list(takewhile(lambda unit: unit.author == author, reversed(units)))[::-1]
