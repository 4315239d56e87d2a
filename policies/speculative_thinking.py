"""Take over at keywords: a big model writes where a small one reflects, affirms or doubts.

Source: Speculative Thinking. Its settings: units of a paragraph, 20 tokens where the small model
affirms or doubts, 125 where it verifies; after 15 doubts a fixed sentence and 200 tokens.
"""

from pydantic import Field

from collab import (
    Boundary,
    Close,
    Decision,
    Insert,
    Paragraph,
    Says,
    Settings,
    Tokens,
    View,
    Write,
    Writer,
)


class SpeculativeThinking(Settings):
    """Let `main` write paragraphs; `helper` writes some tokens after those with keywords.

    The patterns are regular expressions that main's last unit is searched for; case is ignored.
    """

    main: Writer = "main"
    """Seat of the small model."""
    helper: Writer = "helper"
    """Seat of the big model."""
    affirms: Says = Says(pattern=r"\b(yeah|yes|final answer|confident)\b")
    """Words of affirmation."""
    doubts: Says = Says(pattern=r"\b(wait|alternatively|hold on|another|hmm|but)\b")
    """Words of doubt."""
    verifies: Says = Says(pattern=r"\b(verify|check|think again|recap)\b")
    """Words of verification."""
    until: Boundary = Paragraph()
    """Where a unit of `main` ends."""
    tokens: int = Field(default=20, ge=1)
    """Tokens that `helper` writes after an affirmation or a doubt."""
    verify_tokens: int = Field(default=125, ge=1)
    """Tokens that `helper` writes after a verification."""
    most_doubts: int = Field(default=15, ge=1)
    """Doubting units of `main` after which `phrase` is inserted."""
    phrase: str = "Let me check whether there are some wrong steps:\n"
    """Text inserted after so many doubts."""
    phrase_tokens: int = Field(default=200, ge=1)
    """Tokens that `helper` writes after the phrase."""

    async def decide(self, view: View) -> Decision:
        """Look for keywords in main's last unit."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        last = view.units[-1] if view.units else None
        if last and last.kind == "inserted":
            return self._help(self.phrase_tokens, "looks for wrong steps")
        if last is None or last.author == self.helper:
            return Write(self.main, self.until, why=f"{self.main} thinks")
        if self._count_doubts(view) >= self.most_doubts:
            return Insert(self.helper, self.phrase, why=f"{self.most_doubts} doubts")
        if self.verifies.holds(view, view.units):
            return self._help(self.verify_tokens, "main verifies")
        for keywords, why in ((self.doubts, "main doubts"), (self.affirms, "main affirms")):
            if keywords.holds(view, view.units):
                return self._help(self.tokens, why)
        return Write(self.main, self.until, why=f"{self.main} thinks")

    def _help(self, tokens: int, why: str) -> Decision:
        return Write(self.helper, Tokens(count=tokens), why=why)

    def _count_doubts(self, view: View) -> int:
        """Count main's doubting units since the phrase was last inserted."""
        phrases = [n for n, unit in enumerate(view.units) if unit.kind == "inserted"]
        since = view.units[phrases[-1] + 1 if phrases else 0 :]
        return sum(self.doubts.holds(view, [one]) for one in since if one.author == self.main)
