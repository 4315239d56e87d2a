"""Think alone: the baseline of every collaboration."""

from collab import Close, Decision, Settings, View, Write, Writer


class Solo(Settings):
    """Let `main` write everything."""

    main: Writer = "main"

    async def decide(self, view: View) -> Decision:
        """Give `main` the pen until it closes its thinking."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        return Write(self.main, why=f"{self.main} thinks alone")
