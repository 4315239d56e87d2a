"""The decisions that a policy can take."""

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

    `Share` and `Length` play the seat's recording. A seat without a model plays its recording
    whatever the boundary is.

    Examples:
        >>> from collab import Sentence, Write
        >>> Write("helper", until=Sentence(), why="main is unsure").seat
        'helper'
    """

    seat: str
    until: Boundary | None = None
    """Where the unit ends; None: the run's own boundary."""
    why: str = ""
    """The reason, for the report."""
    memo: Json = None
    """Data for the next decision, as `view.memo`."""


@dataclass(frozen=True, slots=True)
class Insert:
    r"""Append literal text to the trajectory in a seat's name.

    Examples:
        >>> from collab import Insert
        >>> Insert("main", "Wait.\n").text
        'Wait.\n'
    """

    seat: str
    text: str
    """It must not end in a space, which belongs to the next word's token."""
    why: str = ""
    memo: Json = None
    signal: bool = False
    """Whether it is a signal, which only that seat reads."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of an earlier living unit, or strike the unit (`text=None`).

    The old text stays in the unit's history.

    Examples:
        >>> from collab import Edit
        >>> Edit(0, "7 + 1 = 8.", seat="overseer").unit
        0
    """

    unit: int
    """The index of the unit among the living units."""
    text: str | None
    why: str = ""
    memo: Json = None
    seat: str | None = None
    """The author of the new text; None: the unit's author."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """Strike all living units from index `to` on.

    Examples:
        >>> from collab import Rewind
        >>> Rewind(2, why="the last step is wrong").to
        2
    """

    to: int
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Branch:
    r"""A child episode of a fork.

    Examples:
        >>> from collab import Branch, Insert
        >>> from collab.policies.solo import Solo
        >>> Branch(Solo(), opening=(Insert("main", "Or else\n"),), empty=True).empty
        True
    """

    policy: Policy
    """The policy that decides in the branch."""
    opening: tuple[Insert, ...] = ()
    """Text inserted first."""
    empty: bool = False
    """Whether it starts from the bare question; else from the thinking so far."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Play child episodes in parallel; their outcomes are then in `view.branches`.

    The trajectory does not change. The draws of the branches are independent: two branches that
    write from the same prompt get different samples.

    Examples:
        >>> from collab import Branch, Fork
        >>> from collab.policies.solo import Solo
        >>> len(Fork((Branch(Solo()), Branch(Solo(main="helper")))).branches)
        2
    """

    branches: tuple[Branch, ...]
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Choose:
    """Replace the trajectory by the outcome of a branch of the last fork, its answer included.

    Examples:
        >>> from collab import Choose
        >>> Choose(1, why="2 of 3 votes").branch
        1
    """

    branch: int
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the thinking and let a seat answer.

    Examples:
        >>> from collab import Close
        >>> Close("main", why="main closed its thinking").seat
        'main'
    """

    seat: str
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the episode without a further answer.

    Examples:
        >>> from collab import Stop
        >>> Stop("the overseer found no correct step").why
        'the overseer found no correct step'
    """

    why: str
    memo: Json = None


Decision = Write | Insert | Edit | Rewind | Fork | Choose | Close | Stop


def same_action(one: Decision, other: Decision) -> bool:
    """Check whether two decisions differ at most in their reason and memo."""
    return replace(one, why="", memo=None) == replace(other, why="", memo=None)
