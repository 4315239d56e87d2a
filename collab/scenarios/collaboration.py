"""Collaboration: any policy and team on any questions, compared with baselines.

The baselines are each seat alone, other policies on the same team (for example a random writer, or
one model that hands over to itself), and the majority of several solo answers. Cases of all arms
have draws of their own. The size of a majority depends on what its answers cost, and never on
whether they are right.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, InstanceOf, field_validator

from collab.core.design import Design
from collab.core.policy import Policy, needs_of, reseated, seats_of
from collab.core.settings import Settings
from collab.episode.engine import Case
from collab.errors import ConfigError
from collab.scenarios.base import Bank, Note
from collab.scenarios.published_systems import systems

TOGETHER = "together"
ALONE = "alone"


@dataclass(frozen=True, slots=True)
class _Arm:
    """One way to play every question."""

    name: str
    policy: Policy
    samples: int


class Collaboration(Settings):
    """Play the policy and its baselines, `samples` times a question, from an empty trajectory."""

    by: ClassVar[str] = "level"

    main: str = "main"
    """The seat that is `main` in the baselines."""
    helper: str | None = None
    """The seat that is `partner` in the baselines; None: the policy's first other writer."""
    samples: int = Field(default=1, ge=1)
    """Episodes per question, for the policy and for each policy in `against`."""
    alone: InstanceOf[Policy] | None = None
    """The policy of a seat alone: each seat takes its `main` in turn; None: no solo episodes."""
    votes: int = Field(default=8, ge=1)
    """Episodes per question for each seat alone, which is the largest possible majority."""
    against: Mapping[str, InstanceOf[Policy]] = {}
    """Other policies by name; their seats `main` and `partner` become main and helper."""
    published: str = ""
    """A system of `collab.scenarios.published_systems`: the report tests its claims."""

    @field_validator("against", mode="before")
    @classmethod
    def _none(cls, given: object) -> object:
        return {} if given is None else given

    @field_validator("published")
    @classmethod
    def _known(cls, published: str) -> str:
        if published and published not in systems():
            raise ValueError(
                f"no claims of system {published!r} are known (known systems: "
                f"{', '.join(systems())}); set scenario.published to one of them or to ''"
            )
        return published

    def solos(self) -> Mapping[str, int]:
        """Ask for no bank."""
        return {}

    def most(self, questions: int, policy: Policy) -> int:
        """Return the largest number of cases: every seat writes."""
        alone = len(seats_of(policy)) * self.votes if self.alone else 0
        return questions * (self.samples * (1 + len(self.against)) + alone)

    def factors(self) -> Mapping[str, object]:
        """Change no setting."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Yield the cases of all arms, question by question.

        Raises:
            ConfigError: `helper` is not a seat with a model that can write.
        """
        notes: list[str] = []
        helper = self._helper(bank, policy)
        arms = [_Arm(TOGETHER, policy, self.samples), *self._arms(bank, policy, helper, notes)]
        async for question in bank.ready():
            for arm in arms:
                place = question.id if arm.name == TOGETHER else f"{question.id}/{arm.name}"
                for sample in range(arm.samples):
                    yield Case(
                        id=f"{place}/{sample}",
                        question=question,
                        policy=arm.policy,
                        design=Design(
                            arm=arm.name, policy=type(arm.policy).__name__, helper=helper
                        ),
                        labels=question.labels,
                    )
        for note in notes:
            yield Note(note)

    def _helper(self, bank: Bank, policy: Policy) -> str | None:
        """Return the partner of the baselines: the chosen seat or the first other writer."""
        if self.helper is None:
            others = (seat for seat in seats_of(policy) if seat != self.main)
            return next((seat for seat in others if seat in _writers(bank)), None)
        if self.helper not in _writers(bank):
            raise ConfigError(
                f"scenario.helper={self.helper!r} is not a seat with a model that can write "
                f"(such seats: {', '.join(_writers(bank)) or 'none'}); set it to one of them or "
                "to null"
            )
        return self.helper

    def _arms(
        self, bank: Bank, policy: Policy, helper: str | None, notes: list[str]
    ) -> Iterator[_Arm]:
        """Yield the baselines that the team can play."""
        if self.alone is not None:
            for seat in seats_of(policy):
                if seat in _writers(bank):
                    yield _Arm(f"{seat} {ALONE}", reseated(self.alone, {"main": seat}), self.votes)
        places = {"main": self.main, "partner": helper or "partner"}
        for name, other in self.against.items():
            seated = reseated(other, places)
            if why := _missing(seated, bank):
                notes.append(f"{name} left out: {why}")
            else:
                yield _Arm(name, seated, self.samples)


def _missing(policy: Policy, bank: Bank) -> str:
    """Return why a team cannot play a baseline; empty if it can."""
    seats = seats_of(policy)
    if lacking := sorted(seats.keys() - set(_writers(bank))):
        return f"seat {', '.join(map(repr, lacking))} has no model that can write"
    unable = sorted({need for seat in seats for need in needs_of(policy) - bank.models[seat]})
    return f"not all of its seats support {', '.join(unable)}" if unable else ""


def _writers(bank: Bank) -> list[str]:
    return [seat for seat, can in bank.models.items() if "write" in can]
