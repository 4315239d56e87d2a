"""Answer by another: one author thinks, another one answers from that thinking.

The answerer need not be able to continue a thought, so an API that hides its own can take part.
"""

from pydantic import Field

from collab import Adviser, Close, Decision, Settings, View, Write, Writer


class AnswerBy(Settings):
    """Let `thinker` think to its end, or for `units` units; then `answerer` answers.

    The answerer reads the question and the thinking. The control is `solo`: the thinker answers.
    """

    thinker: Writer = "main"
    answerer: Adviser = "partner"
    units: int | None = Field(default=None, ge=0)
    """Units that the thinker writes at most; None leaves it to the thinker."""

    async def decide(self, view: View) -> Decision:
        """Leave the pen with the thinker until it is done, or has had its share."""
        if view.closed_by:
            return Close(self.answerer, why="the thinker closed its thinking")
        if self.units is not None and len(view.units) >= self.units:
            return Close(self.answerer, why=f"{self.units} units of thinking are there")
        return Write(self.thinker, why="the thinker thinks")
