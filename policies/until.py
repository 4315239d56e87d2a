"""Until: any other policy, with a condition that ends its thinking."""

from pydantic import InstanceOf

from collab import Adviser, Boxed, Close, Condition, Decision, Policy, Settings, View


class Until(Settings):
    """Let `policy` decide until `end` holds for the living thinking, then close it.

    Combine conditions with `|` and `&`, or in YAML with `collab.core.condition.AnyOf` and `AllOf`.
    If the policy closes first, it chooses who answers.
    """

    policy: InstanceOf[Policy]
    """Policy that decides until then."""
    end: Condition = Boxed()
    """Condition on all of the living units that ends the thinking."""
    answerer: Adviser = "main"
    """Seat that answers when the condition holds."""

    async def decide(self, view: View) -> Decision:
        """Close if the condition holds, else ask the policy."""
        if view.units and self.end.holds(view, view.units):
            return Close(self.answerer, why=f"{self.end!r} holds")
        return await self.policy.decide(view)
