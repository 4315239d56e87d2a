"""Aggregate: several answer alone, and one writes from what they say.

Source: Mixture of Agents, with one layer; the proposals stand at the begin of the aggregator's own
thinking. A plain majority vote is what the `collaboration` table sets beside it.
"""

from typing import Literal

from pydantic import Field

from collab import Branch, Close, Decision, Fork, Insert, Settings, View, Write, Writer


class Alone(Settings):
    """Let `writer` think and answer: what a branch does."""

    writer: Writer

    async def decide(self, view: View) -> Decision:
        """Write, then answer."""
        if view.closed_by:
            return Close(self.writer, why="it closed its thinking")
        return Write(self.writer, why="thinks alone")


class Aggregate(Settings):
    """Have `proposers` answer the bare question, `samples` times each; then `main` thinks."""

    main: Writer = "main"
    proposers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1)
    samples: int = Field(default=2, ge=1)
    shows: Literal["answer", "thinking"] = "answer"
    """What of a proposal `main` reads."""

    async def decide(self, view: View) -> Decision:
        """Fork, put what came of it before main's thinking, and let `main` think."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.units:
            return Write(self.main, why=f"{self.main} thinks")
        if not view.branches:
            writers = [seat for seat in self.proposers for _ in range(self.samples)]
            branches = tuple(Branch(Alone(writer=seat), empty=True) for seat in writers)
            return Fork(branches, why=f"{len(branches)} proposals")
        said = [getattr(one, self.shows).strip() or "(none)" for one in view.branches]
        text = "".join(f"Proposal {n}: {one}\n\n" for n, one in enumerate(said, 1))
        return Insert(self.main, text, why="what was proposed")
