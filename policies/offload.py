"""Offload: a small model thinks, and a bigger model writes where the small one needs it.

Sources: SplitReason (the small model writes `<bigmodel>`; the big one writes up to 512 tokens, and
after every 64 the small one is checked for `</bigmodel>`), RelayLLM (`<call>n</call>` asks for n
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
    """After each of the helper's units, test whether `main` would take the turn back."""

    needs = frozenset({"score"})

    tag: str = Field(min_length=1)
    """Tag with which `main` takes the turn back. It is inserted after the helper's turn, and only
    `main` reads it."""
    chance: float = Field(default=0.5, gt=0, lt=1)
    """Probability of the tag at which `main` takes the turn back."""


class Offload(Settings):
    """Let `main` write until `when` holds for its units since the last call, then let `helper`.

    `when` is any condition: `Unsure` (entropy), `Says` (keywords), `AfterUnits` or `AfterTokens`
    (length), or `Called` (main's own tag, with `until` set to that `Tag`, which only `main` reads).
    """

    main: Writer = "main"
    """Seat of the small model: thinks and answers."""
    helper: Writer = "helper"
    """Seat of the bigger model."""
    when: Condition = AfterUnits(count=3)
    """Condition on main's units since the last call that calls the helper."""
    until: Boundary = Sentence()
    """Where a unit of `main` ends."""
    turn: Boundary = Paragraph()
    """Where a unit of `helper` ends."""
    units: int = Field(default=1, ge=1)
    """Units that the helper writes per call, at most."""
    calls: int | None = Field(default=None, ge=0)
    """Calls that are answered, at most; None: all."""
    asks: str = ""
    """Pattern in main's tag whose first group is the number of tokens it asks for; empty: none."""
    poll: Poll | None = None
    """Test for ending the helper's turn early, as {tag: …, chance: 0.5}: `main` takes the turn back
    where it would write this tag with that probability; None: no test."""

    async def decide(self, view: View) -> Decision:
        """Let the helper write where it is called, and `main` once the helper's turn is over."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        turn = _last_units(view.units, self.helper)
        if turn:
            return await self._continue_turn(view, len(turn))
        since = _last_units(view.units, self.main)
        if self._calls_answered(view) != self.calls and self.when.holds(view, since):
            return Write(self.helper, self._length(since), why=f"{self.when!r} holds")
        return Write(self.main, self.until, why=f"{self.main} thinks")

    async def _continue_turn(self, view: View, written: int) -> Decision:
        """Let the helper write on, or let `main` take the turn back."""
        back = written >= self.units
        if self.poll and not back:
            likely = await view.score(self.poll.tag, self.main)
            back = likely.chance >= self.poll.chance
        if not back:
            return Write(self.helper, self.turn, why=f"the helper's unit {written + 1}")
        if self.poll:
            return Insert(
                self.main, self.poll.tag, why=f"{self.main} takes the turn back", signal=True
            )
        return Write(self.main, self.until, why="the helper's turn is over")

    def _calls_answered(self, view: View) -> int:
        """Count the helper's turns."""
        authors = [unit.author for unit in view.units]
        return sum(a == self.helper != b for a, b in zip(authors, ["", *authors], strict=False))

    def _length(self, since: list[Unit]) -> Boundary:
        """Return where the helper's unit ends: after the tokens `main` asked for, if it did."""
        found = re.search(self.asks, since[-1].text) if self.asks and since else None
        return Tokens(count=max(int(found[1]), 1)) if found else self.turn


def _last_units(units: tuple[Unit, ...], author: str) -> list[Unit]:
    """Return the author's units at the end of the thinking."""
    return list(takewhile(lambda unit: unit.author == author, reversed(units)))[::-1]
