"""A human at the table: lets each unit stand, writes, rewinds, or has it answered."""

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
    """Let `main` write; behind each unit `human` says how it goes on."""

    main: Writer = "main"
    human: Writer = "human"
    until: Boundary = Paragraph()

    async def decide(self, view: View) -> Decision:
        """Ask the human behind each new unit, and do what is said."""
        if not view.units or view.memo == "asked":
            return self._goes_on(view, "main thinks")
        said = await view.ask(self.human, QUESTION, choices=CHOICES)
        match said:
            case "write":
                return Write(self.human, why="the human takes the pen")
            case "rewind":
                return Rewind(len(view.units) - 1, why="the human's veto", memo="asked")
            case "close":
                return Close(self.main, why="the human has heard enough")
        return self._goes_on(view, "the human lets it stand")

    def _goes_on(self, view: View, why: str) -> Decision:
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        return Write(self.main, self.until, why=why)
