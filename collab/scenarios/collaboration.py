"""Collaboration: any policy, any team, on every question, and beside it what it must beat.

Against the policy stand each of its seats alone, other policies on the same team (who writes drawn
at random; one handing to itself) and the majority of several solo answers. Cases of all arms take
draws of their own, and how many answers make a majority depends on what they cost, never on whether
they are right.
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
    """One way in which every question is played."""

    name: str
    policy: Policy
    samples: int


class Collaboration(Settings):
    """Play the policy from an empty trajectory, `samples` times a question, and its baselines."""

    by: ClassVar[str] = "level"

    main: str = "main"
    """The seat that the baselines take for theirs."""
    helper: str | None = None
    """The seat that baselines take for their partner; None: the policy's first other writer."""
    samples: int = Field(default=1, ge=1)
    """Episodes a question, of the policy and of each that it is compared with."""
    alone: InstanceOf[Policy] | None = None
    """How a seat thinks alone: its `main` stands for each seat; None: nobody is asked to."""
    votes: int = Field(default=8, ge=1)
    """Episodes a question of each seat alone: as many as a majority may have."""
    against: Mapping[str, InstanceOf[Policy]] = {}
    """Other policies by name: the seats `main` and `partner` in them stand for main and helper."""
    published: str = ""
    """A system of `collab.scenarios.published_systems` whose claims the report answers."""

    @field_validator("against", mode="before")
    @classmethod
    def _none(cls, given: object) -> object:
        return {} if given is None else given

    @field_validator("published")
    @classmethod
    def _known(cls, published: str) -> str:
        if published and published not in systems():
            raise ValueError(
                f"of system {published!r} no claims are known; of these there are: "
                f"{', '.join(systems())}"
            )
        return published

    def solos(self) -> Mapping[str, int]:
        """Ask for no bank."""
        return {}

    def most(self, questions: int, policy: Policy) -> int:
        """Return how many cases there are at most: those of a team whose every seat writes."""
        alone = len(seats_of(policy)) * self.votes if self.alone else 0
        return questions * (self.samples * (1 + len(self.against)) + alone)

    def factors(self) -> Mapping[str, object]:
        """Set nothing."""
        return {}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Make the cases of all arms, question by question.

        Raises:
            ConfigError: `helper` names no seat with a model that writes.
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
        """Return the baselines' partner: the seat chosen, or the policy's first other writer."""
        if self.helper is None:
            others = (seat for seat in seats_of(policy) if seat != self.main)
            return next((seat for seat in others if seat in _writers(bank)), None)
        if self.helper not in _writers(bank):
            raise ConfigError(
                f"scenario.helper={self.helper!r} is no seat with a model that writes (such seats: "
                f"{', '.join(_writers(bank)) or 'none'}); set it to one of them, or to null"
            )
        return self.helper

    def _arms(
        self, bank: Bank, policy: Policy, helper: str | None, notes: list[str]
    ) -> Iterator[_Arm]:
        """Yield what the policy is compared with, as far as the team can play it."""
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
    """Say what keeps a team from playing a baseline; nothing if it can."""
    seats = seats_of(policy)
    if lacking := sorted(seats.keys() - set(_writers(bank))):
        return f"no model that writes in seat {', '.join(map(repr, lacking))}"
    unable = sorted({need for seat in seats for need in needs_of(policy) - bank.models[seat]})
    return f"not all of its seats give {', '.join(unable)}" if unable else ""


def _writers(bank: Bank) -> list[str]:
    return [seat for seat, can in bank.models.items() if "write" in can]
