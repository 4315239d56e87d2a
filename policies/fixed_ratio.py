"""Keep a ratio: the partner writes a fixed share of the tokens, whatever the text says."""

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class FixedRatio(Settings):
    """Let `partner` write whenever it has written less than `share` of the tokens.

    A baseline for routers at an equal share, spread evenly. The tokens are those of the two seats
    in the living thinking, each counted by its own tokenizer.
    """

    main: Writer = "main"
    """Seat that begins and answers."""
    partner: Writer = "partner"
    """Seat that writes the share."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the tokens that `partner` writes, to the nearest unit."""
    until: Boundary = Sentence()
    """Where a unit ends."""

    async def decide(self, view: View) -> Decision:
        """Pick the seat that is below its share; `main` begins and answers."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        written = {self.main: 0, self.partner: 0}
        for unit in view.units:
            written[unit.author] = written.get(unit.author, 0) + unit.tokens
        theirs, total = written[self.partner], sum(written.values())
        seat = self.partner if theirs < self.share * total else self.main
        return Write(seat, self.until, why=f"{self.partner} wrote {theirs} of {total} tokens")
