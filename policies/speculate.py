"""Speculate: a small model drafts each step; a big model scores it, and rewrites a bad one.

Source: SpecReason. Its settings: steps end in a blank line (512 tokens at most), a score from 0 to
9 is read from one token after the start of a sentence, and 7 is enough. SpecReason scores a step
in the same conversation. Here the score is a side question with the thinking so far in the user's
turn, so that no chat template cuts it.
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
    View,
    Write,
    Writer,
)
from collab.policies.write_units import WriteUnits

QUESTION = """The last step of the thinking is:
{step}

How good is it? Give a score from 0 (wrong or of no use) to 9 (right and a clear step forward)."""


class Likely(Settings):
    """Judge a step by its likelihood under `main`, for models that give no scores."""

    needs = frozenset({"score"})

    chance: float = Field(default=0.5, gt=0, lt=1)
    """Probability of a token of the step under `main` (geometric mean) at which it is accepted."""


class Speculate(Settings):
    """Let `drafter` write a step and `main` score it; `main` rewrites it below `threshold`."""

    main: Writer = "main"
    """Seat of the big model: scores, rewrites and answers."""
    drafter: Writer = "drafter"
    """Seat of the small model: drafts the steps."""
    threshold: float = Field(default=7, ge=0, le=9)
    """Score, of 9, at which a step is accepted."""
    likely: Likely | None = None
    """Test by likelihood in place of the score, as {chance: 0.5}: the probability of the step's
    tokens under `main` (geometric mean) at which it is accepted. The step is then drafted in a
    branch; None: the score decides."""
    begins: int = Field(default=0, ge=0)
    """Steps that `main` writes first."""
    until: Boundary = Paragraph()
    """Where a step ends."""
    ahead: bool = True
    """Whether the next step is drafted while this one is scored."""

    async def decide(self, view: View) -> Decision:
        """Judge a draft, rewrite a rejected one, else let the drafter write the next one."""
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
            draft = WriteUnits(writer=self.drafter, until=self.until, total=len(view.units) + 1)
            return Fork((Branch(draft),), why="the next step is drafted in a branch", memo="apart")
        return Write(self.drafter, self.until, why=why, memo="drafted")

    async def _weigh(self, view: View, likely: Likely) -> Decision:
        """Accept the draft if `main` finds it likely enough, else let `main` write the step."""
        step = view.branches[0].thinking
        if not step.strip():
            return Choose(0, why="the drafter closes the thinking")
        found = await view.score(step, self.main)
        chance = math.exp(found.logprob / max(found.tokens, 1))
        if chance >= likely.chance:
            return Choose(0, why=f"likely enough: {chance:.2f} a token")
        return Write(self.main, self.until, why=f"too unlikely: {chance:.2f} a token")
