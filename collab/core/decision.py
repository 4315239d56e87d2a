"""What a policy may decide: the whole vocabulary of taking turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collab.core.boundary import Boundary
from collab.core.trajectory import Json

if TYPE_CHECKING:
    from collab.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Write:
    """Let a seat continue the trajectory.

    `until` is the run's own boundary where it is None. `Share` and `Length` play the seat's
    recording; a seat that has nothing but a recording plays it under every boundary.
    """

    seat: str
    until: Boundary | None = None
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Insert:
    """Put literal text on the trajectory in a seat's name."""

    seat: str
    text: str
    why: str = ""
    memo: Json = None
    signal: bool = False
    """Whether it is a signal, which that seat alone reads."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Change an earlier living unit, or strike it (`text=None`).

    The unit that stands there afterwards is by `seat`, or by its author as before where that is
    None; what it was stays in its history.
    """

    unit: int
    text: str | None
    why: str = ""
    memo: Json = None
    seat: str | None = None


@dataclass(frozen=True, slots=True)
class Rewind:
    """Strike all living units from index `to` on."""

    to: int
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A child episode: who decides in it, and where it starts."""

    policy: Policy
    opening: tuple[Insert, ...] = ()
    """What is put on its trajectory first."""
    empty: bool = False
    """Whether it starts from the bare question; else from the thinking so far."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Play child episodes side by side; what they brought is then in `view.branches`.

    The trajectory itself stays as it is. Each branch draws anew: two that write from one prompt do
    not write the same.
    """

    branches: tuple[Branch, ...]
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Go on with what a branch of the last fork came to; its answer, if it gave one, counts."""

    branch: int
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Close:
    """End the thinking and let a seat answer."""

    seat: str
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the episode as it stands."""

    why: str
    memo: Json = None


Decision = Write | Insert | Edit | Rewind | Fork | Choose | Close | Stop


def same(one: Decision, other: Decision) -> bool:
    """Say whether two decisions do the same, whatever they say of it."""
    return replace(one, why="", memo=None) == replace(other, why="", memo=None)
