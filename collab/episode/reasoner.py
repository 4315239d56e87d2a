"""A reasoner: an async agent that continues a shared trajectory, answers, or gives advice.

Here is what one is asked and what it gives back, and the simplest one: `Recorded`, which only has
the recording that the opening hands its seat. `collab.reasoners` has the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from collab.core.boundary import Boundary
from collab.core.cost import Rates
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.sampling import Drawn, OnText, Request
from collab.core.trajectory import Phase, Question, Trajectory, Unit
from collab.errors import PolicyError

Reached = Literal["boundary", "end", "length", "context", "turn over"]


@dataclass(frozen=True, slots=True)
class Turn:
    """The pen, handed to one seat."""

    seat: str
    question: Question
    trajectory: Trajectory
    phase: Phase
    until: Boundary
    budget: int
    """The most tokens that opening and completion may have together."""
    number: Callable[[Request], int]
    """Names the draw to take of a request."""
    why: str = ""
    on_text: OnText | None = None


@dataclass(frozen=True, slots=True)
class WrittenTurn:
    """What a seat wrote in one turn."""

    units: tuple[Unit, ...]
    reached: Reached
    """`end`: its own close tag or, in the answer and without tags, its end of turn. `turn over`: it
    ended its turn inside the thinking. `length`, `context`: the budget, or the model's context, is
    used up."""
    cut: bool = False
    """Whether the answer ran into the end of the budget or the context."""
    drawn: tuple[Drawn, ...] = ()
    """The generations that it was made of."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a side question."""

    said: SideAnswer
    drawn: tuple[Drawn, ...]
    """The generations that it was read from."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """How likely a text was found."""

    likelihood: Likelihood
    drawn: tuple[Drawn, ...]
    """The generations that it was read from."""


class Reasoner(Protocol):
    """Whoever can sit in a seat."""

    @property
    def can(self) -> frozenset[str]:
        """What it can do: `write`, `answer`, `advise`, `logprobs`, `score`."""
        ...

    @property
    def think_close(self) -> str:
        """The tag with which it closes its thinking; empty where it has none."""
        ...

    @property
    def rates(self) -> Rates:
        """By what its tokens are counted up."""
        ...

    def count(self, text: str) -> int | None:
        """Count the tokens of a text, None without a tokenizer."""
        ...

    async def write(self, turn: Turn) -> WrittenTurn:
        """Continue the trajectory, or the answer, to the boundary."""
        ...

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Answer a side question about the trajectory."""
        ...

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Say how likely a text is behind the trajectory."""
        ...


@dataclass(frozen=True)
class Recorded:
    """A seat that has nothing but its recording."""

    can: frozenset[str] = frozenset({"write"})
    think_close: str = ""
    rates: Rates = Rates()  # noqa: RUF009 - a frozen value

    def count(self, text: str) -> int | None:
        """Return None: it has no tokenizer."""
        return None

    async def write(self, turn: Turn) -> WrittenTurn:
        """Refuse: the engine plays recordings, and this seat's is spent or was never given.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(
            f"seat {turn.seat!r} has no (more) recording to play and no model to go on with"
        )

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a recording: it cannot be asked {inquiry.text!r}")

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a recording: it cannot score {text!r}")
