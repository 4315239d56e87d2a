"""A reasoner: an async agent that continues a shared trajectory, answers, or gives advice.

This module defines its requests and replies, and the simplest reasoner: `Recorded`, which only has
the recording that the opening gives its seat. `collab.reasoners` has the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from collab.core.boundary import Boundary
from collab.core.cost import Rates
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.sampling import Drawn, OnText, Request
from collab.core.trajectory import Phase, Question, Trajectory, Unit
from collab.errors import PolicyError

Reached = Literal["boundary", "end", "length", "context", "turn over"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A request to one seat to write, to answer or to advise."""

    seat: str
    question: Question
    trajectory: Trajectory
    phase: Phase
    until: Boundary
    budget: int
    """The most tokens that opening and completion may have together."""
    number: Callable[[Request], int]
    """Returns the number of the draw to take for a request."""
    why: str = ""
    on_text: OnText | None = None


@dataclass(frozen=True, slots=True)
class WrittenTurn:
    """The units that a seat wrote in one turn."""

    units: tuple[Unit, ...]
    reached: Reached
    """Why the turn ended. `boundary`: the unit is complete. `end`: the model's close tag or, in the
    answer and without tags, its end of turn. `turn over`: it ended its turn inside the thinking.
    `length`, `context`: the budget or the model's context is used up."""
    cut: bool = False
    """Whether the end of the budget or the context cut the answer."""
    drawn: tuple[Drawn, ...] = ()
    """The generations that the units were cut from."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a side question."""

    answer: SideAnswer
    drawn: tuple[Drawn, ...]
    """The generations that it was read from."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """The probability of a text, with its generations."""

    likelihood: Likelihood
    drawn: tuple[Drawn, ...]
    """The generations that it was read from."""


class Reasoner(Protocol):
    """An agent that can take a seat."""

    @property
    def can(self) -> frozenset[str]:
        """Its abilities: `write`, `answer`, `advise`, `logprobs`, `score`."""
        ...

    @property
    def think_close(self) -> str:
        """The tag that closes its thinking; empty: it has none."""
        ...

    @property
    def rates(self) -> Rates:
        """Convert its token counts to cost."""
        ...

    def count(self, text: str) -> int | None:
        """Count the tokens of a text; None without a tokenizer."""
        ...

    async def write(self, turn: Turn) -> WrittenTurn:
        """Continue the trajectory, or the answer, to the boundary."""
        ...

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Answer a side question about the trajectory."""
        ...

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Return the probability of a text after the trajectory."""
        ...


@dataclass(frozen=True)
class Recorded:
    """A seat that has only its recording."""

    can: ClassVar[frozenset[str]] = frozenset({"write"})
    think_close: ClassVar[str] = ""
    rates: ClassVar[Rates] = Rates()

    def count(self, text: str) -> int | None:
        """Return None: it has no tokenizer."""
        return None

    async def write(self, turn: Turn) -> WrittenTurn:
        """Refuse: the engine plays recordings, and this seat has none left.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} has no model, and no recording left to play")

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a recording and cannot be asked {inquiry.text!r}")

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a recording and cannot score {text!r}")
