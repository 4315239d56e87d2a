"""Switch at random: the baseline that a router must beat.

Source: SplitReason's mode `random_switch_flow`, RelayLLM's random router.
"""

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class RandomSwitch(Settings):
    """Draw the writer of each unit: `partner` with probability `share`, else `main`.

    To compare a router at an equal share of tokens, set `share` to the router's measured share. The
    draw depends only on case, replicate and step, so a rerun switches at the same places.
    """

    main: Writer = "main"
    """Seat that writes the rest and answers."""
    partner: Writer = "partner"
    """Seat that writes the share."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Probability that `partner` writes a unit."""
    until: Boundary = Sentence()
    """Where a unit ends."""

    async def decide(self, view: View) -> Decision:
        """Draw the writer; `main` answers."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        seat = self.partner if view.rng.random() < self.share else self.main
        return Write(
            seat, self.until, why=f"drawn with a chance of {self.share:g} for {self.partner}"
        )
