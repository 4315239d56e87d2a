"""A human in the loop: accepts each unit, writes the next one, rewinds, or ends the thinking."""

from collab import (
    Boundary,
    Close,
    Decision,
    Paragraph,
    Rewind,
    Settings,
    View,
    Write,
    Writer,
)

CHOICES = ("pass", "write", "rewind", "close")
QUESTION = (
    "What next? pass: main goes on. write: you write the next unit. rewind: the last unit is "
    "written anew. close: main answers now."
)


class AtTheTable(Settings):
    """Let `main` write, and ask `human` after each unit how to continue."""

    main: Writer = "main"
    """Seat that thinks and answers."""
    human: Writer = "human"
    """Seat that is asked after each unit, and may write."""
    until: Boundary = Paragraph()
    """Where a unit of `main` ends."""

    async def decide(self, view: View) -> Decision:
        """Ask the human after each new unit, and follow the reply."""
        if not view.units or view.memo == "asked":
            return self._continue(view, "main thinks")
        choice = await view.ask(self.human, QUESTION, choices=CHOICES)
        match choice:
            case "write":
                return Write(self.human, why="the human writes the next unit")
            case "rewind":
                return Rewind(len(view.units) - 1, why="the human's veto", memo="asked")
            case "close":
                return Close(self.main, why="the human ends the thinking")
        return self._continue(view, "the human accepts the unit")

    def _continue(self, view: View, why: str) -> Decision:
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        return Write(self.main, self.until, why=why)
