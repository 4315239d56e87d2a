"""Speculate: a small model drafts each step; a big one scores it, and rewrites what is bad.

Source: SpecReason. Its settings: steps end in a blank line (512 tokens at most), scores 0 to 9 read
off one token behind a begun sentence, 7 is enough. There a step is judged in the same conversation;
here on the side, with the thinking so far in the user's turn, so that no chat template cuts it.
"""

from pydantic import Field

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

QUESTION = """The last step of the thinking is:
{step}

How good is it? Give a score from 0 (wrong or of no use) to 9 (right and a clear step forward)."""


class Speculate(Settings):
    """Let `drafter` write a step and `main` score it; below `threshold` `main` writes it anew."""

    main: Writer = "main"
    """The big one: scores, rewrites and answers."""
    drafter: Writer = "drafter"
    threshold: float = Field(default=7, ge=0, le=9)
    begins: int = Field(default=0, ge=0)
    """Steps that `main` writes first."""
    until: Boundary = Paragraph()
    ahead: bool = True
    """Whether the next step is drafted while this one is scored."""

    async def decide(self, view: View) -> Decision:
        """Judge a draft, write a rejected one anew, else have the next one drafted."""
        if view.memo == "drafted" and view.units:
            return await self._judge(view)
        if view.memo == "rejected" or (not view.closed_by and len(view.units) < self.begins):
            return Write(self.main, self.until, why="main writes this step")
        return self._next(view, "the next step is drafted")

    async def _judge(self, view: View) -> Decision:
        accepted = self._next(view, "")
        if self.ahead:
            view.prefetch(accepted)
        step = view.units[-1].text.strip()
        asked = QUESTION.format(step=step)
        score = await view.ask(self.main, asked, scale=range(10), lead="The score is")
        if score is not None and score < self.threshold:
            why = f"scored {score:.1f}, below {self.threshold:g}"
            return Rewind(len(view.units) - 1, why=why, memo="rejected")
        return self._next(view, "no score" if score is None else f"scored {score:.1f}")

    def _next(self, view: View, why: str) -> Decision:
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking; {why}")
        return Write(self.drafter, self.until, why=why, memo="drafted")
