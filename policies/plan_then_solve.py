"""Plan, then solve: one model outlines, and the other one thinks, once or in rounds.

Sources: COPE and CoThink (a plan, then the solution), ReMA (a meta-thinker that speaks repeatedly:
`rounds` above 1, without ReMA's training). The planner answers side questions, so an API that
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
    """Insert the planner's reply before main's thinking, and again after every `units` of it."""

    main: Writer = "main"
    """Seat that thinks and answers."""
    planner: Adviser = "planner"
    """Seat that is asked for the plan."""
    plan: str = PLAN
    """Question to the planner in the first round."""
    next: str = NEXT
    """Question to the planner in later rounds."""
    rounds: int = Field(default=1, ge=1)
    """Times that the planner is asked."""
    units: int = Field(default=4, ge=1)
    """Units of `main` in a round."""
    until: Boundary = Paragraph()
    """Where a unit of `main` ends if there are several rounds."""

    async def decide(self, view: View) -> Decision:
        """Ask for a plan at the start of a round, else let `main` think."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        plans = [n for n, unit in enumerate(view.units) if unit.author == self.planner]
        since = len(view.units) - plans[-1] - 1 if plans else self.units
        if len(plans) < self.rounds and since >= self.units:
            reply = await view.ask(self.planner, self.next if plans else self.plan)
            text = view.on_new_line(f"{reply.strip()}\n\n", gap="\n\n")
            return Insert(self.planner, text, why=f"plan {len(plans) + 1}")
        return Write(self.main, self.until if self.rounds > 1 else None, why=f"{self.main} thinks")
