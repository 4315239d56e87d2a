"""Write a few units, then stop: the policy of a fork's branches.

It has no file in `conf/`: policies that fork use it in their branches.
"""

from pydantic import Field

from collab import Boundary, Decision, Settings, Stop, View, Write, Writer


class WriteUnits(Settings):
    """Let `writer` write until the thinking has `total` units or is closed, then stop."""

    writer: Writer
    until: Boundary
    """Where a unit ends."""
    total: int = Field(ge=1)
    """Units of thinking at the end; those before the fork count."""

    async def decide(self, view: View) -> Decision:
        """Write the next unit, or stop."""
        if view.closed_by or len(view.units) >= self.total:
            return Stop("this branch is written")
        return Write(self.writer, self.until, why=f"{self.writer} writes this branch")
