"""Switch at random: the baseline that every router must beat.

Source: SplitReason's mode `random_switch_flow`, RelayLLM's random router.
"""

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class RandomSwitch(Settings):
    """Before each unit, give the pen to `partner` with a chance of `share`, else to `main`.

    A router is compared at an equal share of the partner's tokens: set `share` to what it came to.
    The choice depends on case, replicate and step alone, so a rerun switches at the same places.
    """

    main: Writer = "main"
    partner: Writer = "partner"
    share: float = Field(default=0.5, ge=0, le=1)
    """Chance of the partner a unit."""
    until: Boundary = Sentence()

    async def decide(self, view: View) -> Decision:
        """Draw who writes; `main` answers."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        seat = self.partner if view.rng.random() < self.share else self.main
        return Write(
            seat, self.until, why=f"drawn with a chance of {self.share:g} for {self.partner}"
        )
