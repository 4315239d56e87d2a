"""Propose and choose: several seats continue the same thought, and one step is chosen.

One seat chooses, or several vote; the authors of the steps are not named. One proposer with several
samples is a step-wise best of n.
"""

import asyncio
from collections import Counter
from string import ascii_uppercase

from pydantic import Field

from collab import (
    Adviser,
    Boundary,
    Branch,
    Choose,
    Close,
    Decision,
    Fork,
    Paragraph,
    Settings,
    View,
    Writer,
)
from collab.policies.write_units import WriteUnits

QUESTION = """These are candidates for the next step of the thinking:

{steps}

Which one is best? Answer with its letter."""


class ProposeAndChoose(Settings):
    """Let every proposer write the next unit, and continue with the one that gets most votes."""

    proposers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1, max_length=6)
    """Seats that propose, up to 6."""
    voters: tuple[Adviser, ...] = Field(default=("judge",), min_length=1)
    """Seats that vote; at a tie the first candidate with most votes is taken."""
    samples: int = Field(default=1, ge=1, le=4)
    """Candidates by each proposer, up to 4."""
    until: Boundary = Paragraph()
    """Where a step ends."""
    answerer: Writer = "main"
    """Seat that answers."""

    async def decide(self, view: View) -> Decision:
        """Fork, choose, and close if the chosen step closed the thinking."""
        if view.memo == "forked" and view.branches:
            return await self._choose(view)
        if view.closed_by:
            return Close(self.answerer, why=f"{view.closed_by} closed the thinking")
        writers = [seat for seat in self.proposers for _ in range(self.samples)]
        total = len(view.units) + 1
        steps = [WriteUnits(writer=seat, until=self.until, total=total) for seat in writers]
        return Fork(tuple(map(Branch, steps)), why=f"{len(steps)} candidates", memo="forked")

    async def _choose(self, view: View) -> Decision:
        names = ascii_uppercase[: len(view.branches)]
        candidates = [branch.thinking.strip() for branch in view.branches]
        steps = [f"{name}: {step}" for name, step in zip(names, candidates, strict=True)]
        asked = QUESTION.format(steps="\n\n".join(steps))
        replies = await asyncio.gather(
            *(view.ask(one, asked, choices=names) for one in self.voters)
        )
        votes = Counter(vote for vote in replies if vote)
        best = max(names, key=lambda name: votes[name])  # the first of those with most votes
        return Choose(names.index(best), why=f"{votes[best]} of {len(replies)} votes for {best}")
