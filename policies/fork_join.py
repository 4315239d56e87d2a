"""Fork and join: branches think separately, and summaries of them continue the thinking.

Source: the spawn and join of APR. APR trains a model to decide when to fork; here a rule decides.
"""

import asyncio

from pydantic import Field

from collab import (
    Boundary,
    Branch,
    Close,
    Decision,
    Fork,
    Insert,
    Outcome,
    Paragraph,
    Settings,
    View,
    Write,
    Writer,
)
from collab.policies.write_units import WriteUnits

QUESTION = """A helper has thought further:
{thinking}

Say in one or two sentences what it found."""


class ForkJoin(Settings):
    """Fork after `begins` units of `main`; `main` continues from summaries of the branches."""

    main: Writer = "main"
    """Seat that begins, summarises, continues and answers."""
    workers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1)
    """Seats that write a branch each."""
    begins: int = Field(default=1, ge=0)
    """Units of `main` before the fork."""
    units: int = Field(default=4, ge=1)
    """Units of each worker."""
    until: Boundary = Paragraph()
    """Where a unit ends; after the join `main` writes up to the run's boundary."""

    async def decide(self, view: View) -> Decision:
        """Fork once, then join once."""
        if view.memo == "forked" and view.branches:
            return await self._join(view)
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.branches or len(view.units) < self.begins:
            until = None if view.branches else self.until
            return Write(self.main, until, why=f"{self.main} thinks")
        total = len(view.units) + self.units
        parts = [WriteUnits(writer=seat, until=self.until, total=total) for seat in self.workers]
        return Fork(tuple(map(Branch, parts)), why="the workers write a branch each", memo="forked")

    async def _join(self, view: View) -> Decision:
        summaries = await asyncio.gather(*(self._summary(view, one) for one in view.branches))
        text = "".join(f"Branch {n}: {one.strip()}\n\n" for n, one in enumerate(summaries, 1))
        return Insert(self.main, f"\n\n{text}", why="summaries of the branches")

    async def _summary(self, view: View, branch: Outcome) -> str:
        return await view.ask(self.main, QUESTION.format(thinking=branch.thinking))
