"""Who writes next: the contract between a policy and the engine.

A policy is a value with one async verb, `decide`. It sees a `View` and returns a `Decision`. One
instance serves all episodes at once: what it needs to remember is on the trajectory or in the
`memo` of its last decision.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol, get_args, get_origin, runtime_checkable

from pydantic import BaseModel

from collab.boundary import Boundary
from collab.errors import PolicyError
from collab.trajectory import Event, Json, Message, Trajectory, Unit


@dataclass(frozen=True, slots=True)
class Role:
    """What a policy's seat does: a writer holds the pen, an adviser is asked."""

    name: Literal["writer", "adviser"]


Writer = Annotated[str, Role("writer")]
"""The name of a seat that writes on the trajectory."""
Adviser = Annotated[str, Role("adviser")]
"""The name of a seat that is asked on the side."""


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


@dataclass(frozen=True, slots=True)
class Edit:
    """Change an earlier living unit, or strike it (`text=None`)."""

    unit: int
    text: str | None
    why: str = ""
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Rewind:
    """Strike all living units from index `to` on."""

    to: int
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


Decision = Write | Insert | Edit | Rewind | Close | Stop
Ask = Callable[[str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class View:
    """What a policy may know when it decides. The known answer is not part of it."""

    question: tuple[Message, ...]
    trajectory: Trajectory
    seats: tuple[str, ...]
    recordings: Mapping[str, int]
    """The seats that the opening hands a recording, with its length in tokens."""
    tokens_left: int
    """Of the episode's budget: stored and sampled tokens count alike."""
    step: int
    """How many decisions were taken before this one."""
    memo: Json
    """What the last decision left here."""
    rng: random.Random
    """Made fresh for each decision from case, replicate and step."""
    asking: Ask

    @property
    def units(self) -> tuple[Unit, ...]:
        """The living units of the thinking."""
        return self.trajectory.units

    @property
    def log(self) -> tuple[Event, ...]:
        """Everything that happened, in order."""
        return self.trajectory.log

    @property
    def closed_by(self) -> str | None:
        """The seat whose last unit ended in its own close tag."""
        return self.trajectory.closed_by

    async def ask(self, seat: str, question: str) -> str:
        """Ask a seat on the side: it sees the question and the thinking so far, then `question`.

        The reply is stored and billed like any draw, and stands in the log, not on the trajectory.
        """
        return await self.asking(seat, question)


@runtime_checkable
class Policy(Protocol):
    """Whatever decides who writes next."""

    needs: ClassVar[frozenset[str]]

    async def decide(self, view: View) -> Decision:
        """Return the next decision; nothing else happens until it is carried out."""
        ...


def seats_of(policy: Policy) -> dict[str, Role]:
    """Map the seats that a policy's fields name to what they do there.

    A field annotated `Writer`, `Adviser`, or a tuple or optional of them, names seats.

    Raises:
        PolicyError: One seat is named as both; a writer may also be asked, so name it a writer.
    """
    if not isinstance(policy, BaseModel):
        return {}
    roles: dict[str, Role] = {}
    for name, info in type(policy).model_fields.items():
        role = next((item for item in info.metadata if isinstance(item, Role)), None)
        role = role or _role_inside(info.annotation)
        if role is None:
            continue
        value = getattr(policy, name)
        for seat in (value,) if isinstance(value, str) else value or ():
            if roles.setdefault(seat, role) != role:
                raise PolicyError(f"seat {seat!r} is named both a writer and an adviser")
    return roles


def _role_inside(annotation: object) -> Role | None:
    if get_origin(annotation) is Annotated:
        return next((item for item in get_args(annotation) if isinstance(item, Role)), None)
    return next((role for item in get_args(annotation) if (role := _role_inside(item))), None)
