"""The contract between a policy and the engine: a `View` goes in, a `Decision` comes out.

A policy is a value with one async method, `decide`. One instance serves all episodes at once, so it
keeps no state: what it must remember is on the trajectory or in the `memo` of its last decision.
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
    """The role of a seat in a policy: a writer writes, an adviser answers side questions."""

    name: Literal["writer", "adviser"]


Writer = Annotated[str, Role("writer")]
"""The name of a seat that writes on the trajectory."""
Adviser = Annotated[str, Role("adviser")]
"""The name of a seat that answers side questions."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A side question."""

    text: str
    options: tuple[str, ...] = ()
    """The allowed replies; empty: any text."""
    lead: str = ""
    """The text that the reply is made to begin with, such as "The score is"."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The probability of a text under a seat's model."""

    logprob: float
    """The sum over its tokens (nats)."""
    tokens: int

    @property
    def chance(self) -> float:
        """The probability that a draw begins with the text (0 to 1)."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class SideAnswer:
    """The reply to a side question."""

    text: str
    chances: Mapping[str, float] = field(default_factory=dict)
    """The probability of each option found in the reply, normalised; empty: none was found."""


class SideChannel(Protocol):
    """The actions of a policy while it decides, carried out by the engine."""

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Ask a seat a side question."""
        ...

    async def score(self, seat: str, text: str) -> Likelihood:
        """Return the probability of a text after the trajectory under a seat's model."""
        ...

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Start the write at the end of a sequence of decisions."""
        ...


class NoSideChannel:
    """The side channel of a view made by hand, which has no one to ask."""

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {seat!r} cannot be asked {inquiry.text!r}: this view has no team")

    async def score(self, seat: str, text: str) -> Likelihood:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {seat!r} cannot score {text!r}: this view has no team")

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        """Do nothing: a prefetch only saves time."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything a policy may know when it decides; the gold answer is not included.

    Views can be made by hand to test a policy.

    Examples:
        >>> import asyncio, random
        >>> from collab import Message, Trajectory, View
        >>> from collab.policies.solo import Solo
        >>> view = View(
        ...     question=(Message("user", "1 + 1?"),), trajectory=Trajectory(), seats=("main",),
        ...     recordings={}, tokens_left=100, step=0, memo=None, rng=random.Random(0),
        ... )
        >>> asyncio.run(Solo().decide(view))
        Write(seat='main', until=None, why='main thinks alone', memo=None)
    """

    question: tuple[Message, ...]
    trajectory: Trajectory
    seats: tuple[str, ...]
    recordings: Mapping[str, int]
    """The seats with a recording in the opening, and its length (tokens)."""
    tokens_left: int
    """What is left of the episode's budget (tokens); stored and sampled tokens count alike."""
    step: int
    """The number of decisions before this one."""
    memo: Json
    """The memo of the last decision."""
    rng: random.Random
    """Random numbers, seeded for each decision by case, replicate and step."""
    spent: Cost = field(default_factory=Cost)
    """The cost of the episode so far; stored draws cost what they cost when sampled."""
    side_channel: SideChannel = field(default_factory=NoSideChannel, repr=False)
    """Carries out `ask`, `score` and `prefetch`."""
    exhausted: frozenset[str] = frozenset()
    """The seats whose recording has been played to its end."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """The living units of the thinking."""
        return self.trajectory.units

    @property
    def log(self) -> tuple[Event, ...]:
        """All events so far, in order."""
        return self.trajectory.log

    @property
    def branches(self) -> tuple[Outcome, ...]:
        """The outcomes of the branches of the last fork."""
        return self.trajectory.branches

    @property
    def closed_by(self) -> str | None:
        """The seat that wrote the last unit and closed its thinking with it; else None."""
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
        """Ask a seat a side question: it reads the question, the thinking so far, then `question`.

        The reply is stored and billed like any draw. It is in the log, but not on the trajectory.
        With `choices` the result is the likeliest choice; with a `scale` it is the mean of the
        numbers, weighted by probability. Both are read from the log-probabilities of one token if
        the endpoint returns them, else from the seat's reply. None: the reply names no option.

        Args:
            seat: The seat that is asked.
            question: The side question, which comes last in the prompt.
            choices: The allowed replies; none may begin like another.
            scale: The numbers allowed as replies, such as `range(10)`.
            lead: The text that the reply is made to begin with, such as "The score is".

        Raises:
            PolicyError: The options cannot be distinguished by their beginning.
        """
        options = tuple(choices) or tuple(map(str, scale))
        reply = await self.side_channel.ask(seat, Inquiry(question, _distinct(options), lead))
        if not options:
            return reply.text
        if not reply.chances:
            return None
        if choices:
            return max(reply.chances, key=lambda option: reply.chances[option])
        return sum(float(option) * share for option, share in reply.chances.items())

    async def score(self, text: str, seat: str) -> Likelihood:
        """Return the probability of `text` after the trajectory under a seat's model."""
        return await self.side_channel.score(seat, text)

    def prefetch(self, *path: Decision) -> None:
        """Start the likely next write now, while side questions are answered.

        It is used if the policy then takes the decisions of `path` one after the other, such as a
        `Rewind` and a `Write`. Else it is stopped and never used. A prefetch saves time; it does
        not change what is written.

        Raises:
            PolicyError: The path does not end in a `Write` or a `Close`.
        """
        self.side_channel.prefetch(path)


@runtime_checkable
class Policy(Protocol):
    """Decides who writes next.

    Examples:
        >>> from collab import Close, Decision, Policy, Settings, View, Write, Writer
        >>> class Duet(Settings):
        ...     first: Writer = "main"
        ...     second: Writer = "partner"
        ...
        ...     async def decide(self, view: View) -> Decision:
        ...         if view.closed_by:
        ...             return Close(self.first, why=f"{view.closed_by} closed its thinking")
        ...         return Write(self.second if len(view.units) % 2 else self.first)
        >>> isinstance(Duet(), Policy)
        True
    """

    needs: ClassVar[frozenset[str]]
    """Abilities that every writer's endpoint must have, such as `logprobs`."""

    async def decide(self, view: View) -> Decision:
        """Return the next decision; the engine carries it out before it asks again."""
        ...


def seats_of(policy: object) -> dict[str, Role]:
    """Map the seats that a policy and the policies inside it name to their roles.

    Fields annotated `Writer` or `Adviser`, or a tuple or optional of them, name seats.

    Raises:
        PolicyError: A seat has both roles. A writer may also be asked, so name it a writer.
    """
    roles: dict[str, Role] = {}
    for settings in settings_in(policy):
        for seat, role in _own_seats(settings).items():
            roles[seat] = roles.get(seat, role) if role.name == "adviser" else role
    return roles


def needs_of(policy: Policy) -> frozenset[str]:
    """Return the abilities that a policy and its settings need of every writer."""
    return policy.needs.union(*(getattr(one, "needs", ()) for one in settings_in(policy)))


def reseated(policy: Policy, seats: Mapping[str, str]) -> Policy:
    """Return a policy with other names for its seats."""
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
    """Return the role of the seats that a field names; None if it names none."""
    role = next((item for item in info.metadata if isinstance(item, Role)), None)
    return role or _role_inside(info.annotation)


def _own_seats(settings: BaseModel) -> dict[str, Role]:
    """Map the seats that a value's own fields name to their roles."""
    roles: dict[str, Role] = {}
    for name, info in type(settings).model_fields.items():
        role = _role(info)
        if role is None:
            continue
        value = getattr(settings, name)
        for seat in (value,) if isinstance(value, str) else value or ():
            if roles.setdefault(seat, role) != role:
                raise PolicyError(
                    f"seat {seat!r} is both a writer and an adviser; make it a Writer"
                )
    return roles


def settings_in(value: object) -> Iterator[BaseModel]:
    """Yield a value and the values inside it that are pydantic models."""
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
                f"option {options[n]!r} of {options} begins like another one; reword them "
                "(a scale of one digit is range(10))"
            )
    return options


def _role_inside(annotation: object) -> Role | None:
    if get_origin(annotation) is Annotated:
        return next((item for item in get_args(annotation) if isinstance(item, Role)), None)
    return next((role for item in get_args(annotation) if (role := _role_inside(item))), None)
