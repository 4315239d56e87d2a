"""One episode: ask the policy, let the seat write, append.

No files, no Hydra, no printing. Whoever wants to read along gives `watch`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal

from collab.boundary import Answer, Boundary, Length, Share
from collab.draws import digest_of, fresh_draw
from collab.errors import ContextFull, Denied, PolicyError, PromptChanged, Rejected
from collab.playback import play
from collab.policy import Close, Decision, Edit, Insert, Policy, Rewind, Stop, View, Write
from collab.reasoner import Model, Reasoner, Recorded, Turn, Written
from collab.sampling import Request
from collab.trajectory import (
    Asked,
    Closed,
    Edited,
    Ended,
    Event,
    Json,
    Phase,
    Question,
    Recording,
    Rewound,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)

Finish = Literal[
    "answered",
    "answer cut",
    "never closed",
    "stopped",
    "context full",
    "refused",
    "prompt changed",
]
Label = str | int | float | bool | None
STEPS = 10_000
"""Decisions after which a policy is taken to be going round in circles."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question, one opening, one policy value, one set of factors."""

    id: str
    """Made of content, never of a position: it names the case across runs."""
    question: Question
    policy: Policy
    opening: Mapping[str, Recording] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    """The factors that tables group by."""
    rival: str | None = None
    """The answer that the steer leads to: was it given instead?"""
    draw: int | None = None
    """The bank's draw that this case reports; None where its draws are evidence and so fresh."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One case played to its end."""

    case: str
    trajectory: Trajectory
    finish: Finish
    sampled: int = 0
    """Generations that were drawn for it now."""
    stored: int = 0
    """Generations that the store had."""


@dataclass(frozen=True)
class Team:
    """Who sits in which seat."""

    seats: Mapping[str, Reasoner]

    def __getitem__(self, seat: str) -> Reasoner:
        try:
            return self.seats[seat]
        except KeyError:
            raise PolicyError(
                f"seat {seat!r} is not in the team (seats: {', '.join(sorted(self.seats))})"
            ) from None

    @property
    def closes(self) -> frozenset[str]:
        """The tags with which its models close their thinking."""
        models = (one for one in self.seats.values() if isinstance(one, Model))
        return frozenset(one.think_close for one in models)

    def count(self, text: str, seat: str) -> int:
        """Count a text's tokens with the seat's tokenizer, else with any in the team."""
        counts = (one.count(text) for one in (self[seat], *self.seats.values()))
        return next((count for count in counts if count is not None), 0)


Watch = Callable[[Trajectory, str], None]
"""Called with the trajectory and, while a unit is being written, with its text so far."""


async def play_case(
    case: Case,
    team: Team,
    *,
    until: Boundary,
    budget: int,
    replicate: int = 0,
    watch: Watch | None = None,
) -> Episode:
    """Play one case to an answer, a stop or the end of its budget.

    Args:
        case: What is played.
        team: Who plays it.
        until: Where a unit ends if the policy does not say.
        budget: The most tokens of opening and completion together.
        replicate: Which repetition of the whole run this is.
        watch: Reads along.

    Raises:
        PolicyError: The policy broke its contract.
        EndpointError: A server failed for good.
    """
    table = _Table(case, team, until, budget, replicate, watch)
    try:
        while table.finish is None:
            await table.step()
    except ContextFull:
        table.over("context full")
    except Denied:
        raise
    except Rejected as refusal:
        table.add(Stopped(str(refusal)))
        table.over("refused")
    except PromptChanged as change:
        table.add(Stopped(str(change)))
        table.over("prompt changed")
    assert table.finish is not None
    return Episode(case.id, table.trajectory, table.finish, table.sampled, table.stored)


class _Table:
    """The state of one episode while it is played."""

    def __init__(
        self,
        case: Case,
        team: Team,
        until: Boundary,
        budget: int,
        replicate: int,
        watch: Watch | None,
    ) -> None:
        self.trajectory = Trajectory()
        self.finish: Finish | None = None
        self.sampled = self.stored = 0
        self._case, self._team, self._until = case, team, until
        self._budget, self._replicate, self._watch = budget, replicate, watch
        self._asked: Counter[str] = Counter()
        self._played: Counter[str] = Counter()
        self._steps = 0
        self._memo: Json = None

    def add(self, event: Event) -> None:
        self.trajectory = self.trajectory.add(event)
        if self._watch:
            self._watch(self.trajectory, "")

    def over(self, finish: Finish) -> None:
        self.finish = finish

    async def step(self) -> None:
        """Take and carry out one decision."""
        if self._steps == STEPS:
            raise PolicyError(f"{self._name} took {STEPS} decisions without an end")
        decision = await self._case.policy.decide(self._view())
        self._steps += 1
        await self._carry_out(decision)
        self._memo = decision.memo

    @property
    def _name(self) -> str:
        return type(self._case.policy).__name__

    async def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Write():
                await self._write(decision)
            case Insert(seat, text, why, memo):
                tokens = self._injected(text, seat)
                self.add(Wrote(Unit(seat, text, "inserted", why, tokens=tokens), memo))
            case Edit(unit, text, why, memo):
                self._edit(Edited(unit, text, why, memo))
            case Rewind(to, why, memo):
                self.add(Rewound(to, why, memo))
            case Close(seat, why, memo):
                self.add(Closed(seat, why, memo))
                await self._answer(seat, why)
            case Stop(why, memo):
                self.add(Stopped(why, memo))
                self.over("stopped")
            case _:
                raise PolicyError(f"{self._name} decided {decision!r}, which is no decision")

    def _edit(self, edited: Edited) -> None:
        changed = self.trajectory.add(edited)  # refuses a unit that is not there
        if edited.text is not None:
            author = changed.units[edited.unit].author
            edited = replace(edited, tokens=self._injected(edited.text, author))
        self.add(edited)

    def _injected(self, text: str, seat: str) -> int:
        """Count the tokens of a text that no model wrote.

        Raises:
            PolicyError: It ends in a space, which belongs to the token of the word behind it.
        """
        if text.endswith((" ", "\t")):
            raise PolicyError(
                f"{self._name} puts {text[-40:]!r} on the trajectory, which ends in a space: it "
                "would split the next word's token; end the text before the space, or in a newline"
            )
        return self._team.count(text, seat)

    async def _write(self, decision: Write) -> None:
        seat, until = decision.seat, decision.until or self._until
        reasoner = self._team[seat]
        recording = self._recording(seat, reasoner, until)
        if recording is not None:
            unit = play(recording, self._played[seat], until, seat, decision.why)
            self._played[seat] += len(unit.text)
            if unit.ids is None:
                unit = replace(unit, tokens=self._team.count(unit.text, seat))
            self.add(Wrote(unit, decision.memo))
            return
        if isinstance(until, Share | Length):
            raise PolicyError(f"seat {seat!r} has no recording left to play {until!r} of")
        written = await self._turn(seat, "thinking", until, decision.why)
        self._append(written, decision)

    def _append(self, written: Written, decision: Write) -> None:
        thinking = [unit for unit in written.units if unit.phase == "thinking"]
        answer = written.units[len(thinking) :]
        for unit in thinking:
            self.add(Wrote(unit, decision.memo))
        if written.reached == "end":
            self.add(Ended(decision.seat))
        if answer:
            self.add(Closed(decision.seat, "wrote through to its answer"))
            self.add(Wrote(answer[0]))
            self.over("answer cut" if written.cut else "answered")
        elif written.reached in ("length", "turn over"):
            self.over("never closed")
        elif written.reached == "context":
            self.over("context full")

    async def _answer(self, seat: str, why: str) -> None:
        written = await self._turn(seat, "answer", Answer(), why)
        for unit in written.units:
            self.add(Wrote(unit))
        full = written.reached == "context" and not self.trajectory.answer
        self.over("context full" if full else "answer cut" if written.cut else "answered")

    async def _turn(self, seat: str, phase: Phase, until: Boundary, why: str) -> Written:
        turn = Turn(
            seat=seat,
            question=self._case.question,
            trajectory=self.trajectory,
            phase=phase,
            until=until,
            budget=self._budget,
            number=self._number,
            why=why,
            on_text=self._reader(),
        )
        written = await self._team[seat].write(turn)
        self.sampled += written.sampled
        self.stored += written.stored
        return written

    def _recording(self, seat: str, reasoner: Reasoner, until: Boundary) -> Recording | None:
        """Return the seat's recording if this is a turn to play it."""
        recording = self._case.opening.get(seat)
        if recording is None or self._played[seat] >= len(recording.text):
            return None
        playing = isinstance(reasoner, Recorded) or isinstance(until, Share | Length)
        return recording if playing else None

    def _number(self, request: Request) -> int:
        """Name the draw: by the case, and by how often this episode asked this prompt.

        How the text is to be cut makes no other prompt of it: the seed is the same.
        """
        digest = digest_of(replace(request, max_tokens=1, stop=(), logprobs=None))
        nth = self._asked[digest]
        self._asked[digest] += 1
        if self._case.draw is not None and nth == 0:
            return self._case.draw
        return fresh_draw(self._case.id, nth)

    def _reader(self) -> Callable[[str], None] | None:
        watch = self._watch
        if watch is None:
            return None
        pieces: list[str] = []

        def read(piece: str) -> None:
            pieces.append(piece)
            watch(self.trajectory, "".join(pieces))

        return read

    def _view(self) -> View:
        seed = f"{self._case.id}\0{self._replicate}\0{self._steps}".encode()
        return View(
            question=self._case.question.messages,
            trajectory=self.trajectory,
            seats=tuple(sorted(self._team.seats)),
            recordings={seat: one.tokens for seat, one in self._case.opening.items()},
            tokens_left=max(self._budget - self.trajectory.tokens, 0),
            step=self._steps,
            memo=self._memo,
            rng=random.Random(blake2b(seed, digest_size=8).digest()),
            asking=self._ask,
        )

    async def _ask(self, seat: str, question: str) -> str:
        turn = Turn(
            seat=seat,
            question=self._case.question,
            trajectory=self.trajectory,
            phase="answer",
            until=Answer(),
            budget=self._budget,
            number=self._number,
        )
        reply = await self._team[seat].advise(turn, question)
        self.sampled += reply.sampled
        self.stored += 1 - reply.sampled
        self.add(Asked(seat, question, reply.text, reply.generation, reply.tokens))
        return reply.text
