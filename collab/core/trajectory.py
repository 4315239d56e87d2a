"""The shared trajectory: an append-only log of events, and the living units that it leaves.

Everything here is a frozen value. `Trajectory.add` returns a new trajectory; the old one stays what
it was, so that forking is keeping a reference. What is struck or rewound stays in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

from pydantic import Field
from typing_extensions import TypeAliasType

from collab.errors import PolicyError

if TYPE_CHECKING:
    from rich.console import RenderableType

Json = TypeAliasType(
    "Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
)
Phase = Literal["thinking", "answer"]
Domain = Literal["maths", "code", "choice", "refusal"]
"""Which grader a question needs."""
UnitKind = Literal["generated", "recorded", "inserted", "signal"]
Finish = Literal[
    "answered",
    "answer cut",
    "never closed",
    "stopped",
    "context full",
    "refused",
    "prompt changed",
]
"""How an episode, or a branch of one, ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that asks the question."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Checks:
    """What an answer that is code is run against."""

    suites: Mapping[str, str]
    """Python by name, such as `base` and `plus`: run behind the program, it raises where that is
    wrong."""
    reads: Literal["program", "value", "call"] = "program"
    """What is read from the answer: a program, or an expression for what a call gives (`value`)
    or takes (`call`)."""
    before: str = ""
    """Code in front of the program: imports, or the function that an expression is about."""
    entry: str | None = None
    """The function that the answer is about; None: that of the reference which the tests name."""
    packages: tuple[str, ...] = ()
    """Installed packages that program and tests may import."""
    seconds: int = 0
    """CPU time that a right program may need, where the grader allows less."""
    memory: int = 0
    """Bytes, for all processes, likewise."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and where there is one, the known answer with the grader it needs."""

    id: str
    """Made of content: the same question has the same id in every run."""
    messages: tuple[Message, ...]
    answer: str | None = None
    """The gold answer; no policy and no model ever sees it."""
    grader: Domain = "maths"
    options: tuple[str, ...] = ()
    """Of a choice: the options in the order of their letters; `answer` is a letter."""
    checks: Checks | None = None
    """Of code: what the answer is run against; `answer` is a reference solution."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What tables may group by: level, subject, source."""


@dataclass(frozen=True, slots=True)
class Seams:
    """What a prompt was made of: how much of it the reader's own tokenizer had to encode anew."""

    tokens: int
    """The whole prompt (tokens); 0 where nobody counted."""
    runs: int = 0
    """Unbroken runs of others' text, each encoded as one piece."""
    foreign: int = 0
    """Tokens in these runs."""
    changed: int | None = 0
    """Tokens at seams between authors that one encoding of the whole text would draw otherwise.
    None where the reader's tokenizer is not at hand."""

    def __add__(self, other: Seams) -> Seams:
        """Add up two prompts; what is not known of one is not known of both."""
        known = self.changed is not None and other.changed is not None
        return Seams(
            self.tokens + other.tokens,
            self.runs + other.runs,
            self.foreign + other.foreign,
            (self.changed or 0) + (other.changed or 0) if known else None,
        )


@dataclass(frozen=True, slots=True)
class Unit:
    """One stretch of the trajectory by one author."""

    author: str
    """The seat that wrote it."""
    text: str
    kind: UnitKind
    why: str = ""
    """The policy's reason for giving this author the pen."""
    phase: Phase = "thinking"
    ids: tuple[int, ...] | None = None
    """The author's own token ids; `text` is their decoding. None where the author has no tokens."""
    tokenizer: str | None = None
    """The fingerprint of the tokenizer that `ids` belong to."""
    tokens: int = 0
    """Length in the author's tokens; 0 where nobody counted."""
    generations: tuple[str, ...] = ()
    """The keys of the stored generations it was cut from."""
    top20_entropy: float | None = None
    """Mean entropy over the 20 likeliest tokens (nats a token), where log-probabilities were
    asked for."""
    logprob: float | None = None
    """Mean log-probability of its own tokens (nats a token), likewise."""
    seams: Seams | None = None
    """What its author read before it wrote; None where no model did, or it wrote on in one turn."""
    before: Unit | None = None
    """What stood here before it was edited."""

    @property
    def history(self) -> tuple[Unit, ...]:
        """What stood here before, the oldest first."""
        return () if self.before is None else (*self.before.history, self.before)


@dataclass(frozen=True, slots=True)
class Recording:
    """One finished solo trajectory, to be played on another one in whole or in part."""

    question: str
    """The id of the question that it thinks about."""
    text: str
    """The thinking alone: no tags, no answer."""
    tokens: int
    ids: tuple[int, ...] | None = None
    tokenizer: str | None = None
    ends: tuple[int, ...] | None = None
    """Where each token of `ids` ends in `text` (characters)."""
    model: str = ""
    generation: str | None = None
    draw: int | None = None
    answer: str = ""
    """The text after the close of the thinking."""
    closed: bool = True
    """Whether the author closed its thinking."""
    correct: bool | None = None
    extracted: str | None = None
    """What the grader read as the answer."""
    kind: Literal["raw", "summary"] = "raw"
    """`summary`: what an API tells of a thinking that it keeps to itself; another kind of steer."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """A unit was appended by its author."""

    unit: Unit
    memo: Json = None
    event: Literal["wrote"] = "wrote"


@dataclass(frozen=True, slots=True)
class Ended:
    """A writer closed its own thinking; the block stays open until `Closed`."""

    seat: str
    event: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Edited:
    """An earlier living unit was changed, or struck where `text` is None."""

    unit: int
    text: str | None
    why: str = ""
    memo: Json = None
    tokens: int = 0
    """Length of the new text, counted as its author's tokens are."""
    seat: str | None = None
    """Who wrote the new text; None: in the name of the unit's author."""
    event: Literal["edited"] = "edited"


@dataclass(frozen=True, slots=True)
class Rewound:
    """All living units from index `to` on were struck."""

    to: int
    why: str = ""
    memo: Json = None
    event: Literal["rewound"] = "rewound"


@dataclass(frozen=True, slots=True)
class Asked:
    """A seat was asked on the side; nothing of it stands on the trajectory."""

    seat: str
    question: str
    reply: str
    generations: tuple[str, ...] = ()
    """The keys of the stored generations that it was read from."""
    tokens: int = 0
    """Tokens drawn for it."""
    chances: Mapping[str, float] = field(default_factory=dict)
    """Where it was to be one of several: what each was found to be likely (0 to 1)."""
    event: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Scored:
    """A seat said how likely it finds a text after the trajectory."""

    seat: str
    text: str
    logprob: float
    """The sum over its tokens (nats)."""
    tokens: int
    generations: tuple[str, ...] = ()
    event: Literal["scored"] = "scored"


@dataclass(frozen=True, slots=True)
class Brought:
    """All that happened in one branch of a fork."""

    log: tuple[Event, ...]
    finish: Finish
    empty: bool = False
    """Whether it started from the bare question."""


@dataclass(frozen=True, slots=True)
class Forked:
    """Branches were played from here; the trajectory itself stayed as it was."""

    branches: tuple[Brought, ...]
    why: str = ""
    memo: Json = None
    event: Literal["forked"] = "forked"


@dataclass(frozen=True, slots=True)
class Chose:
    """What a branch of the last fork came to took the place of the trajectory."""

    branch: int
    why: str = ""
    memo: Json = None
    event: Literal["chose"] = "chose"


@dataclass(frozen=True, slots=True)
class Closed:
    """The thinking is over; `seat` answers."""

    seat: str
    why: str = ""
    memo: Json = None
    event: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The episode ended without (more of) an answer."""

    why: str
    memo: Json = None
    event: Literal["stopped"] = "stopped"


Event = Annotated[
    Wrote | Ended | Edited | Rewound | Asked | Scored | Forked | Chose | Closed | Stopped,
    Field(discriminator="event"),
]


@dataclass(frozen=True, slots=True)
class Span:
    """Where one author's unbroken run stands in the living thinking (characters, end excluded)."""

    author: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a branch of a fork came to."""

    trajectory: Trajectory
    finish: Finish
    shared: int
    """How many of its first units are the parent's."""

    @property
    def thinking(self) -> str:
        """The text that it added to the thinking."""
        return "".join(unit.text for unit in self.trajectory.units[self.shared :])

    @property
    def answer(self) -> str:
        """Its answer; empty where it gave none."""
        return self.trajectory.answer


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The thinking on one question, by whoever wrote it."""

    log: tuple[Event, ...] = ()
    units: tuple[Unit, ...] = ()
    """The living units of the thinking, in order."""
    reply: tuple[Unit, ...] = ()
    """The units of the answer."""
    closes: tuple[str | None, ...] = ()
    """Behind which living unit which seat closed its own thinking."""
    branches: tuple[Outcome, ...] = ()
    """What the branches of the last fork came to."""

    @classmethod
    def replay(cls, events: Sequence[Event]) -> Trajectory:
        """Build the trajectory that a log leaves."""
        return reduce(cls.add, events, cls())

    def add(self, event: Event) -> Trajectory:
        """Return this trajectory with one more event.

        Raises:
            PolicyError: The event does not fit, such as an edit of a unit that is not there.
        """
        log = (*self.log, event)
        match event:
            case Wrote(unit) if unit.phase == "answer":
                return replace(self, log=log, reply=(*self.reply, unit))
            case Wrote(unit):
                units, closes = (*self.units, unit), (*self.closes, None)
                return replace(self, log=log, units=units, closes=closes)
            case Ended(seat):
                closes = (*self.closes[:-1], seat) if self.closes else ()
                return replace(self, log=log, closes=closes)
            case Edited():
                return _edit(replace(self, log=log), event)
            case Rewound(to):
                _check_index(to, len(self.units) + 1, "rewind to unit")
                return replace(self, log=log, units=self.units[:to], closes=self.closes[:to])
            case Forked(branches):
                return replace(self, log=log, branches=tuple(map(self._outcome, branches)))
            case Chose(branch):
                _check_index(branch, len(self.branches), "choose branch")
                taken = self.branches[branch].trajectory
                return replace(
                    self, log=log, units=taken.units, closes=taken.closes, reply=taken.reply
                )
            case Asked() | Scored() | Closed() | Stopped():
                return replace(self, log=log)
            case _:
                assert_never(event)

    def start(self, empty: bool) -> Trajectory:
        """Return the trajectory from which a branch starts."""
        return Trajectory() if empty else Trajectory(units=self.units, closes=self.closes)

    def upto(self, count: int) -> Trajectory:
        """Return the first living units of the thinking as a trajectory with a log of its own.

        Raises:
            PolicyError: There are not so many.
        """
        _check_index(count, len(self.units) + 1, "keep units up to")
        kept = Trajectory()
        for unit, seat in zip(self.units[:count], self.closes[:count], strict=True):
            kept = kept.add(Wrote(unit))
            kept = kept.add(Ended(seat)) if seat else kept
        return kept

    def _outcome(self, brought: Brought) -> Outcome:
        ended = reduce(Trajectory.add, brought.log, self.start(brought.empty))
        pairs = enumerate(zip(ended.units, self.units, strict=False))
        least = min(len(ended.units), len(self.units))
        shared = next((n for n, (theirs, ours) in pairs if theirs is not ours), least)
        return Outcome(ended, brought.finish, shared)

    @property
    def thinking(self) -> str:
        """The living text inside the think block."""
        return "".join(unit.text for unit in self.units)

    @property
    def answer(self) -> str:
        """The text after the close of the thinking.

        Who closes without a word has no think tags: its answer is in what it wrote last.
        """
        closed = self.closed
        if self.reply or closed is None:
            return "".join(unit.text for unit in self.reply)
        last = takewhile(lambda unit: unit.author == closed.seat, reversed(self.units))
        return "".join(reversed([unit.text for unit in last]))

    @property
    def tokens(self) -> int:
        """The living tokens, each counted by its author's tokenizer."""
        return sum(unit.tokens for unit in (*self.units, *self.reply))

    @property
    def generated(self) -> Iterator[Unit]:
        """The units that models wrote for it, those struck since and in branches included."""
        return _generated(self.log)

    @property
    def seams(self) -> Seams | None:
        """All prompts that its writers read, added up; None where none is known."""
        read = (unit.seams for unit in self.generated)
        return reduce(Seams.__add__, known) if (known := [one for one in read if one]) else None

    @property
    def closed_by(self) -> str | None:
        """The seat whose last living unit ended in its own close tag."""
        return self.closes[-1] if self.closes else None

    @property
    def closed(self) -> Closed | None:
        """The event that closed the thinking, where it is closed."""
        return next((event for event in self.log if isinstance(event, Closed)), None)

    def __rich__(self) -> RenderableType:
        """Show it on a terminal: in colour, once `collab.report` is loaded."""
        if (show := LOOKS.terminal) is not None:
            return show(self)
        from rich.text import Text

        return Text("".join(unit.text for unit in self.units))

    def _repr_html_(self) -> str | None:
        """Show it in a notebook: in colour, once `collab.report` is loaded."""
        return LOOKS.notebook(self) if LOOKS.notebook else None

    @property
    def spans(self) -> tuple[Span, ...]:
        """Who wrote which characters of the living thinking."""
        spans: list[Span] = []
        start = 0
        for author, run in groupby(self.units, key=lambda unit: unit.author):
            end = start + sum(len(unit.text) for unit in run)
            spans.append(Span(author, start, end))
            start = end
        return tuple(spans)


@dataclass
class Looks:
    """How trajectories are shown; a package that can show them fills it in."""

    terminal: Callable[[Trajectory], RenderableType] | None = None
    notebook: Callable[[Trajectory], str] | None = None
    """Returns HTML."""


LOOKS = Looks()


def _generated(log: Iterable[Event]) -> Iterator[Unit]:
    for event in log:
        if isinstance(event, Wrote) and event.unit.kind == "generated":
            yield event.unit
        elif isinstance(event, Forked):
            for branch in event.branches:
                yield from _generated(branch.log)


def _edit(trajectory: Trajectory, event: Edited) -> Trajectory:
    index, units, closes = event.unit, trajectory.units, trajectory.closes
    _check_index(index, len(units), "edit unit")
    after, later = units[index + 1 :], closes[index + 1 :]
    if event.text is None:
        return replace(trajectory, units=(*units[:index], *after), closes=(*closes[:index], *later))
    old = units[index]
    edited = Unit(
        author=event.seat or old.author,
        text=event.text,
        kind="signal" if old.kind == "signal" else "inserted",
        why=event.why,
        tokens=event.tokens,
        before=old,
    )
    return replace(
        trajectory, units=(*units[:index], edited, *after), closes=(*closes[:index], None, *later)
    )


def _check_index(index: int, count: int, verb: str) -> None:
    if not 0 <= index < count:
        allowed = f"allowed are 0 to {count - 1}" if count else "there is none"
        raise PolicyError(f"cannot {verb} {index}: {allowed}")
