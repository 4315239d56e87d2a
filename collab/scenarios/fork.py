"""Fork: what would an episode have come to, had another policy gone on from one of its units?"""

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
    """Go on from a part of a played episode, `samples` times, each with draws of its own."""

    by: ClassVar[str] = "level"

    case: str
    """The episode that is gone on from."""
    begin: Trajectory
    """What stays of it."""
    verdict: str
    """What the episode itself came to."""
    rival: str | None = None
    """The answer that its steer leads to."""
    samples: int = Field(default=1, ge=1)

    def solos(self) -> Mapping[str, int]:
        """Ask for no bank."""
        return {}

    def most(self, questions: int, policy: Policy) -> int:
        """Return how many cases there are."""
        return self.samples

    def factors(self) -> Mapping[str, object]:
        """Set nothing."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Make `samples` cases of the one question."""
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
        yield Note(f"forked from {self.case} behind unit {kept}; there it came to: {self.verdict}")
