"""Hand over to oneself: measure what the seams between units change."""

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class SelfHandoff(Settings):
    """Let `main` write unit by unit, as if it handed over to itself after each.

    The control for every policy that writes unit by unit: it differs from `solo` only in the seams.
    With greedy decoding it writes the same tokens; with sampling, each unit is a separate draw.
    """

    main: Writer = "main"
    """Seat that thinks and answers."""
    until: Boundary = Sentence()
    """Where a unit ends."""

    async def decide(self, view: View) -> Decision:
        """Let `main` write the next unit."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        return Write(
            self.main, self.until, why=f"{self.main} hands to itself, unit {len(view.units) + 1}"
        )
