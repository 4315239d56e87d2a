"""Take turns: the simplest protocol in which several models really think together."""

from typing import Annotated

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class Alternate(Settings):
    """Let each of `seats` write `units` units, round and round.

    Whoever closes its own thinking answers.
    """

    seats: Annotated[tuple[Writer, ...], Field(min_length=1)] = ("main", "partner")
    units: int = Field(default=1, ge=1)
    """Units a turn."""
    until: Boundary = Sentence()
    """Where a unit ends; a turn that ran to the answer would leave the others none."""

    async def decide(self, view: View) -> Decision:
        """Give the pen to the seat whose turn it is by the number of living units."""
        if view.closed_by:
            return Close(view.closed_by, why=f"{view.closed_by} closed its thinking")
        turn, unit = divmod(len(view.units), self.units)
        seat = self.seats[turn % len(self.seats)]
        return Write(seat, self.until, why=f"unit {unit + 1} of {self.units} in turn {turn + 1}")
