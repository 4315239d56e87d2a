"""Force the budget: no end of the thinking before, and none after, a number of tokens.

Source: s1. Its settings: `phrase` "Wait", put where the model would close its thinking, one to six
times (`waits`); `most` ends the thinking. s1 suppresses the close token; here the model's own close
is an event, and the think block stays open until the policy closes it.
"""

from pydantic import Field, field_validator

from collab import Close, Decision, End, Insert, Settings, Tokens, View, Write, Writer


class BudgetForce(Settings):
    """Put `phrase` where `main` closes too early, and close where it thinks too long."""

    main: Writer = "main"
    phrase: str = Field(default="Wait", min_length=1)
    waits: int = Field(default=1, ge=0)
    """How often it may be put there."""
    least: int | None = Field(default=None, ge=1)
    """Tokens of thinking after which a close is taken; None: every close is put off, `waits` times.
    """
    most: int | None = Field(default=None, ge=1)
    """Tokens of thinking; None: up to the run's budget."""

    @field_validator("phrase")
    @classmethod
    def _ends_in_no_space(cls, phrase: str) -> str:
        if phrase.endswith(" "):
            raise ValueError(
                f"phrase {phrase!r} ends in a space, which splits the next word's token"
            )
        return phrase

    async def decide(self, view: View) -> Decision:
        """Let `main` think, wait or answer."""
        written = sum(unit.tokens for unit in view.units)
        if self.most is not None and written >= self.most:
            return Close(self.main, why=f"{written} of {self.most} tokens are thought")
        if not view.closed_by:
            until = End() if self.most is None else Tokens(count=self.most - written)
            return Write(self.main, until, why=f"{self.main} thinks")
        put_off = sum(unit.kind == "inserted" for unit in view.units)
        if put_off >= self.waits or (self.least is not None and written >= self.least):
            return Close(self.main, why=f"{self.main} closed after {written} tokens")
        line = "" if view.trajectory.thinking.endswith("\n") else "\n"
        return Insert(self.main, line + self.phrase, why=f"put off, {put_off + 1} of {self.waits}")
