"""Hand over: one model starts, another finishes."""

from collab import Close, Decision, Settings, View, Write, Writer


class HandOver(Settings):
    """Let `starter` write two units, then let `main` finish."""

    starter: Writer = "partner"
    main: Writer = "main"

    async def decide(self, view: View) -> Decision:
        """Let the starter write the first two living units."""
        if view.closed_by:
            return Close(self.main, why="the thinking is closed")
        seat = self.starter if len(view.units) < 2 else self.main
        return Write(seat, why=f"unit {len(view.units) + 1}")
