"""Who writes next: the contract between a policy and the engine.

A policy is a value with one async verb, `decide`. It sees a `View` and returns a `Decision`. One
instance serves all episodes at once: what it needs to remember is on the trajectory or in the
`memo` of its last decision.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    Annotated,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    overload,
    runtime_checkable,
)

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from collab.core.cost import Cost
from collab.core.decision import Decision
from collab.core.trajectory import Event, Json, Message, Outcome, Trajectory, Unit
from collab.errors import PolicyError


@dataclass(frozen=True, slots=True)
class Role:
    """What a policy's seat does: a writer holds the pen, an adviser is asked."""

    name: Literal["writer", "adviser"]


Writer = Annotated[str, Role("writer")]
"""The name of a seat that writes on the trajectory."""
Adviser = Annotated[str, Role("adviser")]
"""The name of a seat that is asked on the side."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A side question."""

    text: str
    options: tuple[str, ...] = ()
    """What the reply may be; empty: anything."""
    lead: str = ""
    """What the reply is made to begin with, such as "The score is"."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a seat finds a text."""

    logprob: float
    """The sum over its tokens (nats)."""
    tokens: int

    @property
    def chance(self) -> float:
        """The share of draws that would begin with the text (0 to 1)."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class SideAnswer:
    """The reply to a side question."""

    text: str
    chances: Mapping[str, float] = field(default_factory=dict)
    """The share of each option that was found in it, of all that were; empty: none was."""


class SideChannel(Protocol):
    """What a policy may do while it decides."""

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Ask a seat on the side."""
        ...

    async def score(self, seat: str, text: str) -> Likelihood:
        """Have a seat say how likely it finds a text after the trajectory."""
        ...

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Start the write that stands at the end of a path of decisions."""
        ...


class NoSideChannel:
    """Stands where there is nobody to be asked: in views that are made by hand."""

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"nobody is here to ask: {seat!r} was to say {inquiry.text!r}")

    async def score(self, seat: str, text: str) -> Likelihood:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"nobody is here to ask: {seat!r} was to score {text!r}")

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Begin nothing: it would only save time."""


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
    spent: Cost = field(default_factory=Cost)
    """What the episode has cost so far; what came from the store as when it was sampled."""
    aside: SideChannel = field(default_factory=NoSideChannel, repr=False)
    """Who carries out `ask`, `score` and `prefetch`."""
    exhausted: frozenset[str] = frozenset()
    """The seats whose recording is played to its end."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """The living units of the thinking."""
        return self.trajectory.units

    @property
    def log(self) -> tuple[Event, ...]:
        """Everything that happened, in order."""
        return self.trajectory.log

    @property
    def branches(self) -> tuple[Outcome, ...]:
        """What the branches of the last fork came to."""
        return self.trajectory.branches

    @property
    def closed_by(self) -> str | None:
        """The seat whose last unit ended in its own close tag."""
        return self.trajectory.closed_by

    def on_new_line(self, text: str, gap: str = "\n") -> str:
        r"""Return `text` preceded by `gap` if the thinking does not end in a line break.

        At the start of the thinking, and after a line break, it is `text` itself.
        """
        thinking = self.trajectory.thinking
        return text if not thinking or thinking.endswith("\n") else gap + text

    @overload
    async def ask(self, seat: str, question: str) -> str: ...
    @overload
    async def ask(
        self, seat: str, question: str, *, choices: Sequence[str], lead: str = ""
    ) -> str | None: ...
    @overload
    async def ask(
        self, seat: str, question: str, *, scale: range, lead: str = ""
    ) -> float | None: ...
    async def ask(
        self,
        seat: str,
        question: str,
        *,
        choices: Sequence[str] = (),
        scale: range = range(0),
        lead: str = "",
    ) -> str | float | None:
        """Ask a seat on the side: it sees the question and the thinking so far, then `question`.

        The reply is stored and billed like any draw, and stands in the log, not on the trajectory.
        With `choices` it is the likeliest of them, with a `scale` the mean of its numbers, each
        weighed by how likely it is: both read off the log-probabilities of one token where the
        endpoint gives them, else off what the seat says. None: it says none of them.

        Args:
            seat: Who is asked.
            question: What it is asked, behind everything else.
            choices: What may be answered; none may begin as another one does.
            scale: The numbers that may be answered, such as `range(10)`.
            lead: What the answer is made to begin with, such as "The score is".

        Raises:
            PolicyError: The options cannot be told apart by their beginning.
        """
        options = tuple(choices) or tuple(map(str, scale))
        said = await self.aside.ask(seat, Inquiry(question, _distinct(options), lead))
        if not options:
            return said.text
        if not said.chances:
            return None
        if choices:
            return max(said.chances, key=lambda option: said.chances[option])
        return sum(float(option) * share for option, share in said.chances.items())

    async def score(self, text: str, seat: str) -> Likelihood:
        """Ask how likely a seat finds `text` behind the trajectory; it stands in the log."""
        return await self.aside.score(seat, text)

    def prefetch(self, *path: Decision) -> None:
        """Start the likely next write now, while other things are asked.

        It is used if that is what is decided; with several decisions, such as a `Rewind` and a
        `Write`, if all of them are, one after the other. Else it is stopped, and nothing is drawn
        from it. What is written does not depend on it: it saves time, no more.

        Raises:
            PolicyError: The path does not end in a `Write` or a `Close`.
        """
        self.aside.prefetch(path)


@runtime_checkable
class Policy(Protocol):
    """Whatever decides who writes next."""

    needs: ClassVar[frozenset[str]]

    async def decide(self, view: View) -> Decision:
        """Return the next decision; nothing else happens until it is carried out."""
        ...


def seats_of(policy: object) -> dict[str, Role]:
    """Map the seats that a policy's fields name to what they do there, policies in it included.

    A field annotated `Writer`, `Adviser`, or a tuple or optional of them, names seats.

    Raises:
        PolicyError: One seat is named as both; a writer may also be asked, so name it a writer.
    """
    roles: dict[str, Role] = {}
    for settings in settings_in(policy):
        for seat, role in _named(settings).items():
            roles[seat] = roles.get(seat, role) if role.name == "adviser" else role
    return roles


def needs_of(policy: Policy) -> frozenset[str]:
    """Return what a policy, and whatever is among its settings, needs of every writer."""
    return policy.needs.union(*(getattr(one, "needs", ()) for one in settings_in(policy)))


def reseated(policy: Policy, seats: Mapping[str, str]) -> Policy:
    """Return a policy with other seats in the place of those that it names."""
    return _reseated(policy, seats) if isinstance(policy, BaseModel) else policy


Value = TypeVar("Value")


def _reseated(value: Value, seats: Mapping[str, str]) -> Value:
    if isinstance(value, tuple):
        return type(value)(_reseated(item, seats) for item in value)
    if not isinstance(value, BaseModel):
        return value
    changed: dict[str, object] = {}
    for name, info in type(value).model_fields.items():
        given = getattr(value, name)
        if _role(info) is None:
            changed[name] = _reseated(given, seats)
        elif isinstance(given, str):
            changed[name] = seats.get(given, given)
        elif given is not None:
            changed[name] = tuple(seats.get(seat, seat) for seat in given)
    return value.model_copy(update=changed)


def _role(info: FieldInfo) -> Role | None:
    """Return what the seats that a field names do."""
    role = next((item for item in info.metadata if isinstance(item, Role)), None)
    return role or _role_inside(info.annotation)


def _named(settings: BaseModel) -> dict[str, Role]:
    """Map the seats that a value's own fields name."""
    roles: dict[str, Role] = {}
    for name, info in type(settings).model_fields.items():
        role = _role(info)
        if role is None:
            continue
        value = getattr(settings, name)
        for seat in (value,) if isinstance(value, str) else value or ():
            if roles.setdefault(seat, role) != role:
                raise PolicyError(f"seat {seat!r} is named both a writer and an adviser")
    return roles


def settings_in(value: object) -> Iterator[BaseModel]:
    """Yield a value and the values among its settings, as far as they are pydantic models."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from settings_in(getattr(value, name))
    elif isinstance(value, tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from settings_in(item)


def _distinct(options: tuple[str, ...]) -> tuple[str, ...]:
    plain = [option.strip().casefold() for option in options]
    for n, one in enumerate(plain):
        if not one or any(other.startswith(one) for other in plain[n + 1 :] + plain[:n]):
            raise PolicyError(
                f"option {options[n]!r} of {options} cannot be told from another one by its "
                "beginning; reword them (a scale of one digit is range(10))"
            )
    return options


def _role_inside(annotation: object) -> Role | None:
    if get_origin(annotation) is Annotated:
        return next((item for item in get_args(annotation) if isinstance(item, Role)), None)
    return next((role for item in get_args(annotation) if (role := _role_inside(item))), None)
