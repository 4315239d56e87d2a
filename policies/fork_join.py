"""Fork and join: branches think apart, and what they found comes back as summaries.

Source: the spawn and join of APR, by rule where APR's model is trained to decide it.
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
    Stop,
    View,
    Write,
    Writer,
)

QUESTION = """A helper has thought further:
{thinking}

Say in one or two sentences what it found."""


class Apart(Settings):
    """Let `writer` write some units: what a branch does."""

    writer: Writer
    until: Boundary
    units: int
    """Units that the branch has in the end."""

    async def decide(self, view: View) -> Decision:
        """Write, then stop."""
        if view.closed_by or len(view.units) >= self.units:
            return Stop("its part is thought")
        return Write(self.writer, self.until, why="thinks apart")


class ForkJoin(Settings):
    """After `begins` units of `main`, let `workers` think apart; `main` goes on from summaries."""

    main: Writer = "main"
    workers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1)
    begins: int = Field(default=1, ge=0)
    """Units of `main` before the fork."""
    units: int = Field(default=4, ge=1)
    """Units of each worker."""
    until: Boundary = Paragraph()

    async def decide(self, view: View) -> Decision:
        """Fork once, join once."""
        if view.memo == "forked" and view.branches:
            return await self._join(view)
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.branches or len(view.units) < self.begins:
            return Write(
                self.main, self.until if not view.branches else None, why=f"{self.main} thinks"
            )
        units = len(view.units) + self.units
        parts = [Apart(writer=seat, until=self.until, units=units) for seat in self.workers]
        return Fork(tuple(map(Branch, parts)), why="the workers think apart", memo="forked")

    async def _join(self, view: View) -> Decision:
        said = await asyncio.gather(*(self._summary(view, one) for one in view.branches))
        text = "".join(f"Branch {n}: {one.strip()}\n\n" for n, one in enumerate(said, 1))
        return Insert(self.main, f"\n\n{text}", why="what the workers found")

    async def _summary(self, view: View, branch: Outcome) -> str:
        return await view.ask(self.main, QUESTION.format(thinking=branch.thinking))
