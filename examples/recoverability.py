"""Test the recoverability of a policy that doubts the steer, and plot it by insertion point."""

import collab.policies.distractor


class Doubter(collab.policies.distractor.Distractor):
    async def decide(self, view: collab.View) -> collab.Decision:
        decision = await super().decide(view)
        steered = view.units and view.units[-1].author == self.distractor
        if steered and isinstance(decision, collab.Write) and decision.seat == self.main:
            return collab.Insert(self.main, "Is that right?\n", why="doubt the steer")
        return decision


print(*collab.run("twin=recoverability_small", policy=Doubter(), budget=400).plot(), sep="\n")
