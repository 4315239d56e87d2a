"""Intervene: insert a sentence at the start or the end of the thinking, or when a condition holds.

Source: Thinking Intervention (begin, middle, end, trigger). The middle is `at: when` with
`AfterTokens` or `AfterUnits`; a trigger is `at: when` with `Says`. The sentence is inserted in
main's own name, so the model cannot tell it from its own text.
"""

from typing import Literal

from pydantic import Field

from collab import (
    AfterUnits,
    Boundary,
    Close,
    Condition,
    Decision,
    Insert,
    Sentence,
    Settings,
    View,
    Write,
    Writer,
)


class Intervene(Settings):
    """Insert `text` into main's thinking, and let `main` continue from it."""

    main: Writer = "main"
    """Seat that thinks and answers."""
    text: str = Field(default="I should go through this step by step.\n", min_length=1)
    """Text inserted on a new line, in main's name."""
    at: Literal["begin", "when", "end"] = "begin"
    """Place of the intervention: the start of the thinking, each time `when` holds, or the place
    where `main` closes its thinking."""
    when: Condition = AfterUnits(count=3)
    """Condition on the units since the last intervention; used with `at: when` only."""
    times: int = Field(default=1, ge=0)
    """Interventions at most."""
    until: Boundary = Sentence()
    """Where a unit of `main` ends with `at: when`; the condition is checked after each unit."""

    async def decide(self, view: View) -> Decision:
        """Intervene if it is time, else let `main` write."""
        done = [n for n, unit in enumerate(view.units) if unit.kind == "inserted"]
        if len(done) < self.times and self._is_time(view, done[-1] + 1 if done else 0):
            text = view.on_new_line(self.text)
            return Insert(self.main, text, why=f"intervention {len(done) + 1}")
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        until = self.until if self.at == "when" else None
        return Write(self.main, until, why=f"{self.main} thinks")

    def _is_time(self, view: View, since: int) -> bool:
        match self.at:
            case "begin":
                return not view.units
            case "end":
                return view.closed_by is not None
            case "when":
                return self.when.holds(view, view.units[since:])
