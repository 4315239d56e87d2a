"""Hand over to oneself: what the seams alone change."""

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class SelfHandoff(Settings):
    """Let `main` write unit by unit, handing the pen to itself after each.

    The control of every policy that writes unit by unit: it differs from `solo` in the seams alone.
    Greedily it writes the same tokens; sampled, each unit is a draw of its own.
    """

    main: Writer = "main"
    until: Boundary = Sentence()

    async def decide(self, view: View) -> Decision:
        """Give `main` the pen again."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        return Write(
            self.main, self.until, why=f"{self.main} hands to itself, unit {len(view.units) + 1}"
        )
