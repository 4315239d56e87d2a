"""Solo: one model thinks and answers on its own, the baseline of every collaboration."""

from collab import Close, Decision, Settings, View, Write, Writer


class Solo(Settings):
    """Let `main` write everything."""

    main: Writer = "main"
    """Seat that thinks and answers."""

    async def decide(self, view: View) -> Decision:
        """Let `main` write until it closes its thinking."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        return Write(self.main, why=f"{self.main} thinks alone")
