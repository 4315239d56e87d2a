"""The shared trajectory: an append-only log of events, and the living units that it leaves.

Everything here is a frozen value. `Trajectory.add` returns a new trajectory; the old one stays what
it was, so that forking is keeping a reference. What is struck or rewound stays in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby
from typing import Literal, assert_never

from typing_extensions import TypeAliasType

from collab.errors import PolicyError

Json = TypeAliasType(
    "Json", "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
)
Phase = Literal["thinking", "answer"]
Domain = Literal["maths", "code", "choice"]
"""Which grader a question needs."""
Kind = Literal["generated", "recorded", "inserted", "signal"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that asks the question."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Tests:
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
    """The function that the tests call."""
    packages: tuple[str, ...] = ()
    """Installed packages that program and tests may import."""


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
    tests: Tests | None = None
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
    kind: Kind
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
    seams: Seams | None = None
    """What its author read before it wrote; None where no model did, or it wrote on in one turn."""


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
    generation: str | None = None
    tokens: int = 0
    event: Literal["asked"] = "asked"


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


Event = Wrote | Ended | Edited | Rewound | Asked | Closed | Stopped


@dataclass(frozen=True, slots=True)
class Span:
    """Where one author's unbroken run stands in the living thinking (characters, end excluded)."""

    author: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The thinking on one question, by whoever wrote it."""

    log: tuple[Event, ...] = ()
    units: tuple[Unit, ...] = ()
    """The living units of the thinking, in order."""
    reply: tuple[Unit, ...] = ()
    """The units of the answer."""

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
                return replace(self, log=log, units=(*self.units, unit))
            case Edited():
                return replace(self, log=log, units=_edit(self.units, event))
            case Rewound(to):
                _check_index(to, len(self.units) + 1, "rewind to")
                return replace(self, log=log, units=self.units[:to])
            case Ended() | Asked() | Closed() | Stopped():
                return replace(self, log=log)
            case _:
                assert_never(event)

    @property
    def thinking(self) -> str:
        """The living text inside the think block."""
        return "".join(unit.text for unit in self.units)

    @property
    def answer(self) -> str:
        """The text after the close of the thinking."""
        return "".join(unit.text for unit in self.reply)

    @property
    def tokens(self) -> int:
        """The living tokens, each counted by its author's tokenizer."""
        return sum(unit.tokens for unit in (*self.units, *self.reply))

    @property
    def generated(self) -> Iterator[Unit]:
        """The units that models wrote for it, those struck since included."""
        units = (event.unit for event in self.log if isinstance(event, Wrote))
        return (unit for unit in units if unit.kind == "generated")

    @property
    def seams(self) -> Seams | None:
        """All prompts that its writers read, added up; None where none is known."""
        read = (unit.seams for unit in self.generated)
        return reduce(Seams.__add__, known) if (known := [one for one in read if one]) else None

    @property
    def closed_by(self) -> str | None:
        """The seat whose last living unit ended in its own close tag."""
        tags: list[str | None] = []
        for event in self.log:
            match event:
                case Wrote(unit) if unit.phase == "thinking":
                    tags.append(None)
                case Ended(seat):
                    tags[-1:] = [seat]
                case Edited(index, text):
                    tags[index : index + 1] = [] if text is None else [None]
                case Rewound(to):
                    del tags[to:]
        return tags[-1] if tags else None

    @property
    def closed(self) -> Closed | None:
        """The event that closed the thinking, where it is closed."""
        return next((event for event in self.log if isinstance(event, Closed)), None)

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


def _edit(units: tuple[Unit, ...], edited: Edited) -> tuple[Unit, ...]:
    index, text = edited.unit, edited.text
    _check_index(index, len(units), "edit")
    if text is None:
        return (*units[:index], *units[index + 1 :])
    plain = replace(units[index], text=text, ids=None, tokenizer=None, kind="inserted")
    return (*units[:index], replace(plain, tokens=edited.tokens), *units[index + 1 :])


def _check_index(index: int, count: int, verb: str) -> None:
    if not 0 <= index < count:
        raise PolicyError(f"cannot {verb} unit {index}: allowed are 0 to {count - 1}")
