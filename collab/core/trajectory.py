"""The shared trajectory: an append-only log of events, and the living units that result from it.

All values are frozen. `Trajectory.add` returns a new trajectory and leaves the old one unchanged,
so a fork only keeps a reference. Units that are struck or rewound stay in the log.
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
"""The kind of question, which selects its grader."""
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
"""How an episode, or a branch of it, ended."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that asks the question.

    Examples:
        >>> from collab import Message
        >>> Message("user", "1 + 1?").role
        'user'
    """

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Checks:
    """The tests of an answer that is code."""

    suites: Mapping[str, str]
    """Python code by name, such as `base` and `plus`. It runs after the program, and raises if the
    program is wrong."""
    reads: Literal["program", "value", "call"] = "program"
    """The content of the answer: a program, or an expression for the result (`value`) or the
    arguments (`call`) of a call."""
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
    """A question with its gold answer, if known, and the grader that it needs.

    Examples:
        >>> from collab import Message, Question
        >>> Question("sum-1", (Message("user", "1 + 1?"),), answer="2").grader
        'maths'
    """

    id: str
    """Derived from the content, so it is the same in every run."""
    messages: tuple[Message, ...]
    answer: str | None = None
    """The gold answer; policies and models never see it."""
    grader: Domain = "maths"
    options: tuple[str, ...] = ()
    """The options of a choice question in the order of their letters; `answer` is a letter."""
    checks: Checks | None = None
    """The tests of a code question; `answer` is then a reference solution."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Columns that tables can group by: level, subject, source."""
    place: Annotated[str, Field(exclude=True)] = field(default="", compare=False)
    """Where it was read, such as `mine.jsonl:3`; not stored with a run."""


@dataclass(frozen=True, slots=True)
class Seams:
    """The seams in a prompt: the text of other authors that the reader's tokenizer encoded."""

    tokens: int
    """Length of the prompt (tokens); 0: not counted."""
    runs: int = 0
    """Unbroken runs of other authors' text, each encoded as one piece."""
    foreign: int = 0
    """Tokens in those runs."""
    changed: int | None = 0
    """Tokens at seams between authors that differ from one encoding of the whole text; None: the
    reader's tokenizer is not available."""

    def __add__(self, other: Seams) -> Seams:
        """Add up two prompts; a count unknown for one is unknown for both."""
        known = self.changed is not None and other.changed is not None
        return Seams(
            self.tokens + other.tokens,
            self.runs + other.runs,
            self.foreign + other.foreign,
            (self.changed or 0) + (other.changed or 0) if known else None,
        )


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of the trajectory that one author wrote in one go.

    Examples:
        >>> from collab import Unit
        >>> Unit("main", "So 3 + 4 = 7.", "generated", tokens=8).author
        'main'
    """

    author: str
    """The seat that wrote it."""
    text: str
    kind: UnitKind
    why: str = ""
    """The policy's reason to let this author write."""
    phase: Phase = "thinking"
    ids: tuple[int, ...] | None = None
    """The author's token ids, whose decoding is `text`; None: the author has no tokens."""
    tokenizer: str | None = None
    """The fingerprint of the tokenizer of `ids`."""
    tokens: int = 0
    """Length in the author's tokens; 0: not counted."""
    generations: tuple[str, ...] = ()
    """The keys of the stored generations that it was cut from."""
    top20_entropy: float | None = None
    """Mean entropy over the 20 likeliest tokens (nats per token); None: no log-probabilities were
    requested."""
    logprob: float | None = None
    """Mean log-probability of its own tokens (nats per token); None likewise."""
    seams: Seams | None = None
    """The seams in its prompt; None: no model wrote it, or it continues a unit of the same turn."""
    before: Unit | None = None
    """The unit that this one replaced by an edit."""

    @property
    def history(self) -> tuple[Unit, ...]:
        """The units that this one replaced, oldest first."""
        return () if self.before is None else (*self.before.history, self.before)


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished solo trajectory that can be played, in whole or in part, on another trajectory.

    Examples:
        >>> from collab import Recording
        >>> Recording("q1", "So 3. Then 7.", tokens=8, answer="7").closed
        True
    """

    question: str
    """The id of its question."""
    text: str
    """The thinking, without tags and answer."""
    tokens: int
    ids: tuple[int, ...] | None = None
    tokenizer: str | None = None
    ends: tuple[int, ...] | None = None
    """The end of each token of `ids` in `text` (characters)."""
    model: str = ""
    generation: str | None = None
    draw: int | None = None
    answer: str = ""
    """The text after the close of the thinking."""
    closed: bool = True
    """Whether the author closed its thinking."""
    correct: bool | None = None
    extracted: str | None = None
    """The answer that the grader extracted."""
    kind: Literal["raw", "summary"] = "raw"
    """`summary`: an API's summary of thinking that it does not return, another kind of steer."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """A unit was appended."""

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
    """An earlier living unit was replaced, or struck if `text` is None."""

    unit: int
    text: str | None
    why: str = ""
    memo: Json = None
    tokens: int = 0
    """Length of the new text in its author's tokens."""
    seat: str | None = None
    """The author of the new text; None: the unit's author."""
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
    """A seat answered a side question; the trajectory did not change."""

    seat: str
    question: str
    reply: str
    generations: tuple[str, ...] = ()
    """The keys of the stored generations of the reply."""
    tokens: int = 0
    """Tokens drawn for the reply."""
    chances: Mapping[str, float] = field(default_factory=dict)
    """The probability (0 to 1) of each allowed reply, if the replies were limited."""
    event: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Scored:
    """A seat's model scored a text after the trajectory."""

    seat: str
    text: str
    logprob: float
    """The sum over its tokens (nats)."""
    tokens: int
    generations: tuple[str, ...] = ()
    event: Literal["scored"] = "scored"


@dataclass(frozen=True, slots=True)
class PlayedBranch:
    """The log of one branch of a fork."""

    log: tuple[Event, ...]
    finish: Finish
    empty: bool = False
    """Whether it started from the bare question."""


@dataclass(frozen=True, slots=True)
class Forked:
    """Branches were played from here; the trajectory did not change."""

    branches: tuple[PlayedBranch, ...]
    why: str = ""
    memo: Json = None
    event: Literal["forked"] = "forked"


@dataclass(frozen=True, slots=True)
class Chose:
    """The outcome of a branch of the last fork replaced the trajectory."""

    branch: int
    why: str = ""
    memo: Json = None
    event: Literal["chose"] = "chose"


@dataclass(frozen=True, slots=True)
class Closed:
    """The thinking was closed; `seat` answers."""

    seat: str
    why: str = ""
    memo: Json = None
    event: Literal["closed"] = "closed"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The episode ended without a further answer."""

    why: str
    memo: Json = None
    event: Literal["stopped"] = "stopped"


Event = Annotated[
    Wrote | Ended | Edited | Rewound | Asked | Scored | Forked | Chose | Closed | Stopped,
    Field(discriminator="event"),
]


@dataclass(frozen=True, slots=True)
class Span:
    """An unbroken run of one author in the living thinking (characters, end excluded)."""

    author: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a branch of a fork."""

    trajectory: Trajectory
    finish: Finish
    shared: int
    """The number of its first units that are the parent's."""

    @property
    def thinking(self) -> str:
        """The text that it added to the thinking."""
        return "".join(unit.text for unit in self.trajectory.units[self.shared :])

    @property
    def answer(self) -> str:
        """Its answer; empty if it gave none."""
        return self.trajectory.answer


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The shared thinking on one question, and the answer.

    Examples:
        >>> from collab import Trajectory, Unit
        >>> from collab.core.trajectory import Rewound, Wrote
        >>> trajectory = Trajectory().add(Wrote(Unit("main", "So 3. ", "generated")))
        >>> trajectory = trajectory.add(Wrote(Unit("helper", "Or 4.", "generated")))
        >>> [(span.author, span.start, span.end) for span in trajectory.spans]
        [('main', 0, 6), ('helper', 6, 11)]
        >>> trajectory.add(Rewound(1)).thinking
        'So 3. '
    """

    log: tuple[Event, ...] = ()
    units: tuple[Unit, ...] = ()
    """The living units of the thinking, in order."""
    reply: tuple[Unit, ...] = ()
    """The units of the answer."""
    closes: tuple[str | None, ...] = ()
    """For each living unit, the seat that closed its thinking after it, or None."""
    branches: tuple[Outcome, ...] = ()
    """The outcomes of the branches of the last fork."""

    @classmethod
    def replay(cls, events: Sequence[Event]) -> Trajectory:
        """Build the trajectory that results from a log."""
        return reduce(cls.add, events, cls())

    def add(self, event: Event) -> Trajectory:
        """Return this trajectory with one more event.

        Raises:
            PolicyError: The event does not fit, such as an edit of a unit that does not exist.
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
        """Return the trajectory that a branch starts with."""
        return Trajectory() if empty else Trajectory(units=self.units, closes=self.closes)

    def upto(self, count: int) -> Trajectory:
        """Return the first `count` living units of the thinking as a new trajectory.

        Raises:
            PolicyError: There are fewer units.
        """
        _check_index(count, len(self.units) + 1, "keep units up to")
        kept = Trajectory()
        for unit, seat in zip(self.units[:count], self.closes[:count], strict=True):
            kept = kept.add(Wrote(unit))
            kept = kept.add(Ended(seat)) if seat else kept
        return kept

    def _outcome(self, played: PlayedBranch) -> Outcome:
        ended = reduce(Trajectory.add, played.log, self.start(played.empty))
        pairs = enumerate(zip(ended.units, self.units, strict=False))
        least = min(len(ended.units), len(self.units))
        shared = next((n for n, (theirs, ours) in pairs if theirs is not ours), least)
        return Outcome(ended, played.finish, shared)

    @property
    def thinking(self) -> str:
        """The living text inside the think block."""
        return "".join(unit.text for unit in self.units)

    @property
    def answer(self) -> str:
        """The text after the close of the thinking.

        A model without think tags closes without a further text: its answer is in its last units.
        """
        closed = self.closed
        if self.reply or closed is None:
            return "".join(unit.text for unit in self.reply)
        last = takewhile(lambda unit: unit.author == closed.seat, reversed(self.units))
        return "".join(reversed([unit.text for unit in last]))

    @property
    def tokens(self) -> int:
        """The number of living tokens, each counted by its author's tokenizer."""
        return sum(unit.tokens for unit in (*self.units, *self.reply))

    @property
    def generated(self) -> Iterator[Unit]:
        """The units that models wrote, including struck ones and those in branches."""
        return _generated(self.log)

    @property
    def seams(self) -> Seams | None:
        """The seams in all prompts, added up; None if none are known."""
        known = [unit.seams for unit in self.generated if unit.seams]
        return reduce(Seams.__add__, known) if known else None

    @property
    def closed_by(self) -> str | None:
        """The seat that closed its thinking after the last living unit; else None."""
        return self.closes[-1] if self.closes else None

    @property
    def closed(self) -> Closed | None:
        """The event that closed the thinking; None while it is open."""
        return next((event for event in self.log if isinstance(event, Closed)), None)

    def __rich__(self) -> RenderableType:
        """Render for a terminal, in colour once `collab.report` is loaded."""
        if (show := LOOKS.terminal) is not None:
            return show(self)
        from rich.text import Text

        return Text("".join(unit.text for unit in self.units))

    def _repr_html_(self) -> str | None:
        """Render for a notebook, in colour once `collab.report` is loaded."""
        return LOOKS.notebook(self) if LOOKS.notebook else None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The unbroken runs of each author in the living thinking."""
        spans: list[Span] = []
        start = 0
        for author, run in groupby(self.units, key=lambda unit: unit.author):
            end = start + sum(len(unit.text) for unit in run)
            spans.append(Span(author, start, end))
            start = end
        return tuple(spans)


@dataclass
class Looks:
    """The renderers of trajectories, set by `collab.report`."""

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
        allowed = f"allowed are 0 to {count - 1}" if count else "the trajectory has none"
        raise PolicyError(f"cannot {verb} {index}: {allowed}")
