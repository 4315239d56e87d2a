"""Speculate: a small model drafts each step; a big one scores it, and rewrites what is bad.

Source: SpecReason. Its settings: steps end in a blank line (512 tokens at most), scores 0 to 9 read
off one token behind a begun sentence, 7 is enough. There a step is judged in the same conversation;
here on the side, with the thinking so far in the user's turn, so that no chat template cuts it.
"""

import math

from pydantic import Field

from collab import (
    Boundary,
    Branch,
    Choose,
    Close,
    Decision,
    Fork,
    Paragraph,
    Rewind,
    Settings,
    Stop,
    View,
    Write,
    Writer,
)

QUESTION = """The last step of the thinking is:
{step}

How good is it? Give a score from 0 (wrong or of no use) to 9 (right and a clear step forward)."""


class OneStep(Settings):
    """Let `writer` write one step: what the branch of a draft does."""

    writer: Writer
    until: Boundary
    units: int
    """Units that stand before it."""

    async def decide(self, view: View) -> Decision:
        """Write, then stop."""
        if view.closed_by or len(view.units) > self.units:
            return Stop("its step is written")
        return Write(self.writer, self.until, why="drafts the next step")


class Likely(Settings):
    """Judge a step by how likely `main` finds it: for models that give no scores."""

    needs = frozenset({"score"})

    chance: float = Field(default=0.5, gt=0, lt=1)
    """What `main` must give to a token of it, in the geometric mean."""


class Speculate(Settings):
    """Let `drafter` write a step and `main` score it; below `threshold` `main` writes it anew."""

    main: Writer = "main"
    """The big one: scores, rewrites and answers."""
    drafter: Writer = "drafter"
    threshold: float = Field(default=7, ge=0, le=9)
    likely: Likely | None = None
    """Decides in the place of the score; the step is then drafted in a branch."""
    begins: int = Field(default=0, ge=0)
    """Steps that `main` writes first."""
    until: Boundary = Paragraph()
    ahead: bool = True
    """Whether the next step is drafted while this one is scored."""

    async def decide(self, view: View) -> Decision:
        """Judge a draft, write a rejected one anew, else have the next one drafted."""
        if view.memo == "apart" and self.likely and view.branches:
            return await self._weigh(view, self.likely)
        if view.memo == "drafted" and view.units:
            return await self._judge(view)
        if view.memo == "rejected" or (not view.closed_by and len(view.units) < self.begins):
            return Write(self.main, self.until, why=f"{self.main} writes this step")
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
        if self.likely:
            draft = OneStep(writer=self.drafter, until=self.until, units=len(view.units))
            return Fork((Branch(draft),), why="the next step is drafted apart", memo="apart")
        return Write(self.drafter, self.until, why=why, memo="drafted")

    async def _weigh(self, view: View, likely: Likely) -> Decision:
        """Keep the draft that `main` finds likely enough, else have `main` write the step."""
        step = view.branches[0].thinking
        if not step.strip():
            return Choose(0, why="the drafter closes the thinking")
        found = await view.score(step, self.main)
        chance = math.exp(found.logprob / max(found.tokens, 1))
        if chance >= likely.chance:
            return Choose(0, why=f"likely enough: {chance:.2f} a token")
        return Write(self.main, self.until, why=f"too unlikely: {chance:.2f} a token")
