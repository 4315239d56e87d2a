"""Aggregate: several models answer on their own, and one writes from their proposals.

Source: Mixture of Agents, with one layer. The proposals open the aggregator's own thinking. The
`collaboration` scenario compares it with a plain majority vote.
"""

from typing import Literal

from pydantic import Field

from collab import Branch, Close, Decision, Fork, Insert, Settings, View, Write, Writer
from collab.policies.solo import Solo


class Aggregate(Settings):
    """Let each proposer answer the bare question, then let `main` think from the proposals."""

    main: Writer = "main"
    """Seat that reads the proposals, thinks and answers."""
    proposers: tuple[Writer, ...] = Field(default=("main", "partner"), min_length=1)
    """Seats that propose."""
    samples: int = Field(default=2, ge=1)
    """Proposals by each proposer."""
    shows: Literal["answer", "thinking"] = "answer"
    """The part of a proposal that `main` reads."""

    async def decide(self, view: View) -> Decision:
        """Fork, insert the proposals, and let `main` think."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.units:
            return Write(self.main, why=f"{self.main} thinks")
        if not view.branches:
            writers = [seat for seat in self.proposers for _ in range(self.samples)]
            branches = tuple(Branch(Solo(main=seat), empty=True) for seat in writers)
            return Fork(branches, why=f"{len(branches)} proposals")
        proposals = [getattr(branch, self.shows).strip() or "(none)" for branch in view.branches]
        text = "".join(f"Proposal {n}: {proposal}\n\n" for n, proposal in enumerate(proposals, 1))
        return Insert(self.main, text, why="the proposals")
