"""Answer by another: one model thinks, and another answers from that thinking.

The answerer does not have to continue a thought, so an API that hides its own thinking can answer.
"""

from pydantic import Field

from collab import Adviser, Close, Decision, Settings, View, Write, Writer


class AnswerBy(Settings):
    """Let `thinker` think, then let `answerer` answer from the question and the thinking.

    The control is `solo`, in which the thinker answers.
    """

    thinker: Writer = "main"
    """Seat that thinks."""
    answerer: Adviser = "partner"
    """Seat that answers."""
    units: int | None = Field(default=None, ge=0)
    """Units of thinking at most; None: until the thinker closes its thinking."""

    async def decide(self, view: View) -> Decision:
        """Let the thinker write until it has finished or has written `units` units."""
        if view.closed_by:
            return Close(self.answerer, why="the thinker closed its thinking")
        if self.units is not None and len(view.units) >= self.units:
            return Close(self.answerer, why=f"the thinker wrote {self.units} units")
        return Write(self.thinker, why="the thinker thinks")
