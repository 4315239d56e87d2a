"""Fork: play an episode again from one of its units, under another policy."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from pydantic import Field

from collab.core.design import Design
from collab.core.policy import Policy
from collab.core.settings import Settings
from collab.core.trajectory import Trajectory
from collab.episode.engine import Case
from collab.scenarios.base import Bank, Note


class ForkScenario(Settings):
    """Continue part of a played episode, `samples` times, each with draws of its own."""

    by: ClassVar[str] = "level"

    case: str
    """The episode that is forked."""
    begin: Trajectory
    """The part of its trajectory that is kept."""
    verdict: str
    """The verdict of the episode."""
    rival: str | None = None
    """The answer that its steer leads to."""
    samples: int = Field(default=1, ge=1)

    def solos(self) -> Mapping[str, int]:
        """Ask for no bank."""
        return {}

    def most(self, questions: int, policy: Policy) -> int:
        """Return the number of cases."""
        return self.samples

    def factors(self) -> Mapping[str, object]:
        """Change no setting."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Yield `samples` cases of the question."""
        kept = len(self.begin.units)
        async for question in bank.ready():
            for sample in range(self.samples):
                yield Case(
                    id=f"{self.case}/fork/{kept}/{sample}",
                    question=question,
                    policy=policy,
                    begin=self.begin,
                    design=Design(arm="fork", of=self.case, unit=kept),
                    labels=question.labels,
                    rival=self.rival,
                )
        yield Note(f"forked from {self.case} after unit {kept}; its own verdict: {self.verdict}")
