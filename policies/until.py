"""Until: any other policy, with an end of one's own choosing."""

from pydantic import InstanceOf

from collab import Adviser, Boxed, Close, Condition, Decision, Policy, Settings, View


class Until(Settings):
    """Let `policy` decide until `end` holds of the living thinking; then `answerer` answers.

    Conditions are put together with `|` and `&`, or in a file with `collab.core.condition.AnyOf`
    and `AllOf`. Who answers where the policy closes by itself is the policy's own choice.
    """

    policy: InstanceOf[Policy]
    end: Condition = Boxed()
    answerer: Adviser = "main"

    async def decide(self, view: View) -> Decision:
        """Close where the end is reached; else leave it to the policy."""
        if view.units and self.end.holds(view, view.units):
            return Close(self.answerer, why=f"{self.end!r} holds")
        return await self.policy.decide(view)
