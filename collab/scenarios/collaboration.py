"""Collaboration: any policy, any team, on every question."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from pydantic import Field

from collab.engine import Case
from collab.policy import Policy
from collab.scenario import Bank
from collab.settings import Settings


class Collaboration(Settings):
    """Play the policy from an empty trajectory, `samples` times a question."""

    by: ClassVar[str] = "level"

    samples: int = Field(default=1, ge=1)
    """Episodes a question."""

    def solos(self) -> Mapping[str, int]:
        """Ask for no bank."""
        return {}

    def most(self, questions: int) -> int:
        """Return how many cases there are at most."""
        return questions * self.samples

    def factors(self) -> Mapping[str, object]:
        """Set nothing."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case]:
        """Make `samples` cases a question."""
        async for question in bank.ready():
            for sample in range(self.samples):
                yield Case(
                    id=f"{question.id}/{sample}",
                    question=question,
                    policy=policy,
                    labels={"arm": "together", **question.labels},
                )
