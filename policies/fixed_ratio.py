"""Keep a ratio: the partner writes a fixed share of the tokens, whatever they say."""

from pydantic import Field

from collab import Boundary, Close, Decision, Sentence, Settings, View, Write, Writer


class FixedRatio(Settings):
    """Give the pen to `partner` whenever it has written less than `share` of the tokens.

    A baseline for routers at an exactly equal share, spread evenly. Tokens are those that the two
    have written on the living thinking, each counted by its own tokenizer.
    """

    main: Writer = "main"
    partner: Writer = "partner"
    share: float = Field(default=0.5, ge=0, le=1)
    """Of the tokens, to the nearest unit."""
    until: Boundary = Sentence()

    async def decide(self, view: View) -> Decision:
        """Give the pen to whoever is behind its share; `main` begins and answers."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        written = {self.main: 0, self.partner: 0}
        for unit in view.units:
            written[unit.author] = written.get(unit.author, 0) + unit.tokens
        theirs, total = written[self.partner], sum(written.values())
        seat = self.partner if theirs < self.share * total else self.main
        return Write(seat, self.until, why=f"{self.partner} wrote {theirs} of {total} tokens")
