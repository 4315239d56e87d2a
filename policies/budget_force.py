"""Force the budget: keep the thinking open up to, or close it at, a number of tokens.

Source: s1, which inserts the phrase "Wait" where the model would close its thinking, one to six
times (`phrase`, `waits`), and ends the thinking at a number of tokens (`most`). s1 suppresses the
close token. Here the model's own close is an event, and the think block stays open until the policy
closes it.
"""

from pydantic import Field

from collab import Close, Decision, End, Insert, InsertedText, Settings, Tokens, View, Write, Writer


class BudgetForce(Settings):
    """Insert `phrase` where `main` closes too early, and close where it thinks too long."""

    main: Writer = "main"
    """Seat that thinks and answers."""
    phrase: InsertedText = Field(default="Wait", min_length=1)
    """Text inserted on a new line where `main` would close its thinking."""
    waits: int = Field(default=1, ge=0)
    """Insertions at most."""
    least: int | None = Field(default=None, ge=1)
    """Tokens of thinking after which a close is accepted; None: only after `waits` insertions."""
    most: int | None = Field(default=None, ge=1)
    """Tokens of thinking after which `main` must answer; None: up to the run's budget."""

    async def decide(self, view: View) -> Decision:
        """Let `main` think, insert the phrase, or close."""
        written = sum(unit.tokens for unit in view.units)
        if self.most is not None and written >= self.most:
            return Close(self.main, why=f"{written} of {self.most} tokens are written")
        if not view.closed_by:
            until = End() if self.most is None else Tokens(count=self.most - written)
            return Write(self.main, until, why=f"{self.main} thinks")
        insertions = sum(unit.kind == "inserted" for unit in view.units)
        if insertions >= self.waits or (self.least is not None and written >= self.least):
            return Close(self.main, why=f"{self.main} closed after {written} tokens")
        text = view.on_new_line(self.phrase)
        return Insert(self.main, text, why=f"kept open, {insertions + 1} of {self.waits}")
