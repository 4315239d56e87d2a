"""Take over at keywords: a big model writes a little where a small one reflects, affirms or doubts.

Source: Speculative Thinking. Its settings: units of a paragraph, 20 tokens where the small model
affirms or doubts, 125 where it verifies; after 15 doubts a fixed sentence, 200 tokens behind it.
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
    """Let `main` write paragraphs; `helper` takes over for some tokens where keywords stand."""

    main: Writer = "main"
    helper: Writer = "helper"
    affirms: Says = Says(pattern=r"\b(yeah|yes|final answer|confident)\b")
    doubts: Says = Says(pattern=r"\b(wait|alternatively|hold on|another|hmm|but)\b")
    verifies: Says = Says(pattern=r"\b(verify|check|think again|recap)\b")
    until: Boundary = Paragraph()
    """Where a unit of `main` ends."""
    tokens: int = Field(default=20, ge=1)
    """Behind what affirms or doubts."""
    verify_tokens: int = Field(default=125, ge=1)
    most_doubts: int = Field(default=15, ge=1)
    """Doubting units of `main` after which `phrase` is put on the trajectory."""
    phrase: str = "Let me check whether there are some wrong steps:\n"
    phrase_tokens: int = Field(default=200, ge=1)

    async def decide(self, view: View) -> Decision:
        """Look for keywords in main's last unit."""
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking")
        last = view.units[-1] if view.units else None
        if last and last.kind == "inserted":
            return self._helps(self.phrase_tokens, "looks for wrong steps")
        if last is None or last.author == self.helper:
            return Write(self.main, self.until, why=f"{self.main} has the pen")
        if self._doubts(view) >= self.most_doubts:
            return Insert(self.helper, self.phrase, why=f"{self.most_doubts} doubts")
        if self.verifies.holds(view, view.units):
            return self._helps(self.verify_tokens, "main verifies")
        for what, why in ((self.doubts, "main doubts"), (self.affirms, "main affirms")):
            if what.holds(view, view.units):
                return self._helps(self.tokens, why)
        return Write(self.main, self.until, why=f"{self.main} has the pen")

    def _helps(self, tokens: int, why: str) -> Decision:
        return Write(self.helper, Tokens(count=tokens), why=why)

    def _doubts(self, view: View) -> int:
        """Count main's doubting units since the phrase last stood."""
        stands = [n for n, unit in enumerate(view.units) if unit.kind == "inserted"]
        since = view.units[stands[-1] + 1 if stands else 0 :]
        return sum(self.doubts.holds(view, [one]) for one in since if one.author == self.main)
