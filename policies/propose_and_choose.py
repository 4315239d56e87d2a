"""Propose and choose: several continue the same thought side by side, and one step is taken.

One seat chooses, or several vote (nobody's own step is marked). With one proposer and several
samples this is a step-wise best of n.
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
    Stop,
    View,
    Write,
    Writer,
)

QUESTION = """These are candidates for the next step of the thinking:

{steps}

Which one is best? Answer with its letter."""


class OneUnit(Settings):
    """Let `writer` write one unit: what a branch does."""

    writer: Writer
    until: Boundary
    units: int
    """Units that were there before."""

    async def decide(self, view: View) -> Decision:
        """Write, then stop."""
        if len(view.units) > self.units or view.closed_by:
            return Stop("the step is written")
        return Write(self.writer, self.until, why="a candidate")


class ProposeAndChoose(Settings):
    """Have every proposer write the next unit, and go on with the one that most voters name."""

    proposers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1, max_length=6)
    voters: tuple[Adviser, ...] = Field(default=("judge",), min_length=1)
    samples: int = Field(default=1, ge=1, le=4)
    """Candidates by each proposer."""
    until: Boundary = Paragraph()
    answerer: Writer = "main"

    async def decide(self, view: View) -> Decision:
        """Fork, choose, and close where the chosen step closed the thinking."""
        if view.memo == "forked" and view.branches:
            return await self._choose(view)
        if view.closed_by:
            return Close(self.answerer, why=f"{view.closed_by} closed the thinking")
        writers = [seat for seat in self.proposers for _ in range(self.samples)]
        steps = [OneUnit(writer=seat, until=self.until, units=len(view.units)) for seat in writers]
        return Fork(tuple(map(Branch, steps)), why=f"{len(steps)} candidates", memo="forked")

    async def _choose(self, view: View) -> Decision:
        names = ascii_uppercase[: len(view.branches)]
        found = [branch.thinking.strip() for branch in view.branches]
        steps = [f"{name}: {step}" for name, step in zip(names, found, strict=True)]
        asked = QUESTION.format(steps="\n\n".join(steps))
        said = await asyncio.gather(*(view.ask(one, asked, choices=names) for one in self.voters))
        votes = Counter(vote for vote in said if vote)
        best = max(names, key=lambda name: votes[name])  # the first of those with most votes
        return Choose(names.index(best), why=f"{votes[best]} of {len(said)} votes for {best}")
