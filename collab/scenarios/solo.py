"""Solo: each model thinks alone, several times (paper §3.1, Tables 4 and 5)."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from pydantic import Field

from collab.core.design import Design
from collab.core.policy import Policy
from collab.core.settings import Settings
from collab.episode.engine import Case
from collab.errors import ConfigError
from collab.scenarios.base import Bank


class SoloScenario(Settings):
    """Report the bank itself: Pass@1 over `samples` draws per question."""

    by: ClassVar[str] = "level"

    main: str = "main"
    """The seat whose solo draws are reported."""
    samples: int = Field(default=8, ge=1)
    """Solo draws per question."""

    def solos(self) -> Mapping[str, int]:
        """Ask for the main seat's bank."""
        return {self.main: self.samples}

    def most(self, questions: int, policy: Policy) -> int:
        """Return the largest number of cases."""
        return questions * self.samples

    def factors(self) -> Mapping[str, object]:
        """Change no setting."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case]:
        """Yield one case per draw of the bank; the store has them all, so nothing is sampled."""
        async for question in bank.ready():
            for solo in bank.of(self.main, question):
                if solo.generation is None:
                    raise ConfigError(
                        f"scenario solo reports a model's own draws, but seat {self.main!r} has "
                        "recorded traces; `collab import` has already reported them"
                    )
                yield Case(
                    id=f"{question.id}/solo/{solo.draw}",
                    question=question,
                    policy=policy,
                    draw=solo.draw,
                    design=Design(arm="solo", solved=bank.solved(self.main, question)),
                    labels=question.labels,
                )
