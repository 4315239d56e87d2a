"""Take turns: the simplest protocol in which several models think together."""

from typing import Annotated

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class Alternate(Settings):
    """Let the seats write in turn, `units` units each.

    The seat that closes its thinking answers.
    """

    seats: Annotated[tuple[Writer, ...], Field(min_length=1)] = ("main", "partner")
    """Seats in the order of their turns; any number."""
    units: int = Field(default=1, ge=1)
    """Units in a turn."""
    until: Boundary = Sentence()
    """Where a unit ends. With `end` or `answer`, the first seat would write everything."""

    async def decide(self, view: View) -> Decision:
        """Pick the seat by the number of living units."""
        if view.closed_by:
            return Close(view.closed_by, why=f"{view.closed_by} closed its thinking")
        turn, unit = divmod(len(view.units), self.units)
        seat = self.seats[turn % len(self.seats)]
        return Write(seat, self.until, why=f"unit {unit + 1} of {self.units} in turn {turn + 1}")
