"""Intervene: a sentence stands in the thinking, at its begin, at its end or where something holds.

Source: Thinking Intervention (begin, middle, end, trigger). The middle is `at: when` with
`AfterTokens` or `AfterUnits`, a trigger `at: when` with `Says`. Nobody knows the sentence for
another's: it stands in main's own name.
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
    """Put `text` into main's thinking, and let `main` go on from it."""

    main: Writer = "main"
    text: str = Field(default="I should go through this step by step.\n", min_length=1)
    at: Literal["begin", "when", "end"] = "begin"
    when: Condition = AfterUnits(count=3)
    """Of what was thought since the last intervention; counts with `at: when` alone."""
    times: int = Field(default=1, ge=0)
    """Interventions at most."""
    until: Boundary = Sentence()
    """Where a unit ends, behind which `when` is looked at."""

    async def decide(self, view: View) -> Decision:
        """Intervene where it is time to, else leave the pen with `main`."""
        stands = [n for n, unit in enumerate(view.units) if unit.kind == "inserted"]
        if len(stands) < self.times and self._is_time(view, stands[-1] + 1 if stands else 0):
            line = "" if not view.units or view.units[-1].text.endswith("\n") else "\n"
            return Insert(self.main, line + self.text, why=f"intervention {len(stands) + 1}")
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        return Write(
            self.main, self.until if self.at == "when" else None, why=f"{self.main} thinks"
        )

    def _is_time(self, view: View, since: int) -> bool:
        match self.at:
            case "begin":
                return not view.units
            case "end":
                return view.closed_by is not None
            case "when":
                return self.when.holds(view, view.units[since:])
