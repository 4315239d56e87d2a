"""Plan, then solve: one outlines, the other one thinks it through; once, or in turns.

Sources: COPE and CoThink (a plan, then the solution), ReMA (a meta-thinker that speaks again and
again: `rounds` above 1; without its training). The planner is asked on the side, so an API that
continues no thought can plan.
"""

from pydantic import Field

from collab import (
    Adviser,
    Boundary,
    Close,
    Decision,
    Insert,
    Paragraph,
    Settings,
    View,
    Write,
    Writer,
)

PLAN = "Outline in a few short steps how to solve this. Do not work it out."
NEXT = "Say in one or two sentences what should be done next, or what has gone wrong."


class PlanThenSolve(Settings):
    """Put what `planner` says before main's thinking, and again after every `units` of it."""

    main: Writer = "main"
    planner: Adviser = "planner"
    plan: str = PLAN
    """What the planner is asked at first."""
    next: str = NEXT
    """What it is asked later."""
    rounds: int = Field(default=1, ge=1)
    units: int = Field(default=4, ge=1)
    """Units of `main` a round."""
    until: Boundary = Paragraph()

    async def decide(self, view: View) -> Decision:
        """Have it planned where a round begins, else let `main` think."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        plans = [n for n, unit in enumerate(view.units) if unit.author == self.planner]
        since = len(view.units) - plans[-1] - 1 if plans else self.units
        if len(plans) < self.rounds and since >= self.units:
            said = await view.ask(self.planner, self.next if plans else self.plan)
            line = "" if not view.units or view.units[-1].text.endswith("\n") else "\n\n"
            return Insert(self.planner, f"{line}{said.strip()}\n\n", why=f"plan {len(plans) + 1}")
        return Write(self.main, self.until if self.rounds > 1 else None, why=f"{self.main} thinks")
