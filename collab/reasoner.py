"""A reasoner: an async agent that continues a shared trajectory, answers, or gives advice.

`Model` thinks with a model behind an endpoint; `Recorded` only has the recording that the opening
hands its seat. Both speak in units whose text is the decoding of their author's own token ids
wherever ids are known.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from collab.boundary import (
    Answer,
    Boundary,
    Tag,
)
from collab.draws import seed_of
from collab.errors import ContextFull, PolicyError
from collab.sampling import Drawn, Generation, OpenTurn, Prompt, Request, Sampling
from collab.trajectory import Message, Phase, Question, Recording, Seams, Trajectory, Unit

if TYPE_CHECKING:
    from collab.endpoints.dialects import Dialect
    from collab.endpoints.profile import Profile
    from collab.endpoints.tokens import Tokenizer
    from collab.store import Store

BLIND = 128
"""Tokens to ask for at a time where the server stops at no string: what is behind the end of the
unit is paid for in vain."""
OnText = Callable[[str], None]
OnCut = Callable[[Generation], object]
LONGEST = 3
"""Tokens that may still be missing of a character, which has four bytes at most."""
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
class Written:
    """What a seat wrote in one turn."""

    units: tuple[Unit, ...]
    reached: Reached
    """`end`: its own close tag or, in the answer, its end of turn. `turn over`: it ended its turn
    inside the thinking. `length`, `context`: the budget, or the model's context, is used up."""
    cut: bool = False
    """Whether the answer ran into the end of the budget or the context."""
    sampled: int = 0
    """Generations that were drawn now."""
    stored: int = 0
    """Generations that the store had."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a side question."""

    text: str
    generation: str
    tokens: int
    sampled: int


class Reasoner(Protocol):
    """Whoever can sit in a seat."""

    @property
    def can(self) -> frozenset[str]:
        """What it can do: `write`, `answer`, `advise`, `logprobs`."""
        ...

    def count(self, text: str) -> int | None:
        """Count the tokens of a text, None without a tokenizer."""
        ...

    async def write(self, turn: Turn) -> Written:
        """Continue the trajectory, or the answer, to the boundary."""
        ...

    async def advise(self, turn: Turn, question: str) -> Reply:
        """Answer a side question about the trajectory."""
        ...


@dataclass(frozen=True)
class Recorded:
    """A seat that has nothing but its recording."""

    can: frozenset[str] = frozenset({"write"})

    def count(self, text: str) -> int | None:
        """Return None: it has no tokenizer."""
        return None

    async def write(self, turn: Turn) -> Written:
        """Refuse: the engine plays recordings, and this seat's is spent or was never given.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(
            f"seat {turn.seat!r} has no (more) recording to play and no model to go on with"
        )

    async def advise(self, turn: Turn, question: str) -> Reply:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a recording: it cannot be asked {question!r}")


class Completes(Protocol):
    """What a model needs of its endpoint."""

    profile: Profile

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        """Draw the first draws of a range, at least one; draw i of it has the seed `seed + i`.

        `on_cut` is given what had come of a draw that was stopped while it was read along.
        """
        ...


@dataclass(frozen=True)
class Model:
    """A model behind an endpoint, with the store between them."""

    identity: str
    """Names the weights, never the address."""
    endpoint: Completes
    dialect: Dialect
    tokenizer: Tokenizer | None
    store: Store
    sampling: Sampling
    think_close: str = "</think>"
    context: int | None = None
    """Prompt and completion together (tokens)."""
    replicate: int = 0
    logprobs: int | None = None

    @property
    def can(self) -> frozenset[str]:
        """What the endpoint's profile allows."""
        profile = self.endpoint.profile
        allowed = {"answer", "advise"}
        if self.dialect.continues:
            allowed.add("write")
        if profile.logprobs:
            allowed.add("logprobs")
        return frozenset(allowed)

    def count(self, text: str) -> int | None:
        """Count with the model's own tokenizer."""
        return len(self.tokenizer.encode(text)) if self.tokenizer else None

    async def write(self, turn: Turn) -> Written:
        """Sample from the exact trajectory until the boundary, the close tag or the budget."""
        laid = self.dialect.prompt(turn.question.messages, turn.trajectory, turn.phase, turn.seat)
        room, wall = self._room(turn, laid.prompt)
        draft = _Draft(self, turn, laid.prompt, laid.seams)
        while not draft.reached(room):
            request = draft.request(room)
            try:
                (drawn,) = await self._draw(request, [turn.number(request)], turn.on_text)
            except ContextFull:
                if not draft.drawn:
                    raise
                wall = "context"  # nobody said how much fits; what was written stays
                break
            draft.add(drawn)
        written = draft.written()
        return replace(written, reached=wall) if written.reached == "length" else written

    def reads(self, turn: Turn) -> str:
        """Return the text of the exact prompt that a turn would send."""
        messages, phase = turn.question.messages, turn.phase
        prompt = self.dialect.prompt(messages, turn.trajectory, phase, turn.seat).prompt
        if isinstance(prompt, OpenTurn):
            return prompt.rendered or json.dumps(prompt.plain, ensure_ascii=False, indent=1)
        if isinstance(prompt, str) or self.tokenizer is None:
            return str(prompt)
        return self.tokenizer.decode(prompt)

    async def solo(
        self, question: Question, draws: range, budget: int
    ) -> list[tuple[Recording, Drawn]]:
        """Draw whole trajectories, thinking and answer, from the bank's numbers.

        Raises:
            ContextFull: The question leaves no room.
        """
        turn = Turn("", question, Trajectory(), "thinking", Answer(), budget, lambda _: 0)
        prompt = self.dialect.prompt(question.messages, turn.trajectory, "thinking", "").prompt
        room, _ = self._room(turn, prompt)
        if room < 1:
            raise ContextFull(f"question {question.id!r} leaves no room to think in")
        request = _Draft(self, turn, prompt).request(room)
        taken = await self._draw(request, draws)
        return [(self._recording(turn, prompt, drawn), drawn) for drawn in taken]

    async def advise(self, turn: Turn, question: str) -> Reply:
        """Answer a side question from the messages, the thinking so far and the question."""
        units = turn.trajectory.units
        thinking = "".join(
            unit.text for unit in units if unit.kind != "signal" or unit.author == turn.seat
        )
        asked = Message(
            "user", f"Thinking so far:\n{thinking}\n\n{question}" if thinking else question
        )
        laid = self.dialect.prompt(
            (*turn.question.messages, asked), Trajectory(), "answer", turn.seat
        )
        room, _ = self._room(turn, laid.prompt)
        request = Request(
            self.identity, laid.prompt, self.sampling, max(room, 1), (), None, self.replicate
        )
        (drawn,) = await self._draw(request, [turn.number(request)])
        text, _ = self._clean(drawn)
        return Reply(text, drawn.generation.key, drawn.generation.completion_tokens, drawn.fresh)

    def _recording(self, turn: Turn, prompt: Prompt, drawn: Drawn) -> Recording:
        draft = _Draft(self, turn, prompt)
        draft.add(drawn)
        written = draft.written()
        thinking, *rest = written.units or (Unit("", "", "generated"),)
        ends = (
            self.tokenizer.ends(thinking.ids)
            if self.tokenizer and thinking.ids is not None
            else None
        )
        return Recording(
            question=turn.question.id,
            text=thinking.text,
            tokens=thinking.tokens,
            ids=thinking.ids,
            tokenizer=thinking.tokenizer,
            ends=ends,
            model=self.identity,
            generation=drawn.generation.key,
            draw=drawn.draw,
            answer=rest[0].text if rest else "",
            closed=written.reached == "end" and not written.cut,
            kind="raw" if self.endpoint.profile.thinking_returned == "raw" else "summary",
        )

    def _room(self, turn: Turn, prompt: Prompt) -> tuple[int, Literal["length", "context"]]:
        """Return how many tokens may still be written, and what sets this bound."""
        messages = turn.question.messages
        head = self.dialect.prompt(messages, Trajectory(), "thinking", turn.seat).prompt
        size, before = self._size(prompt), self._size(head)
        if size is None or before is None:
            size, room = _guess(prompt), turn.budget - turn.trajectory.tokens
        else:
            room = turn.budget - (size - before)
        if self.context is not None and self.context - size < room:
            return self.context - size, "context"
        return room, "length"

    def _size(self, prompt: Prompt) -> int | None:
        if isinstance(prompt, tuple):
            return len(prompt)
        text = prompt.rendered if isinstance(prompt, OpenTurn) else prompt
        return None if text is None else self.count(text)

    async def _draw(
        self, request: Request, draws: Sequence[int] | range, on_text: OnText | None = None
    ) -> list[Drawn]:
        async def sample(missing: range) -> list[Generation]:
            first, seed = missing.start, seed_of(request, missing.start)
            return await self.endpoint.complete(
                request,
                missing,
                seed=seed,
                on_text=on_text,
                on_cut=lambda partial: self.store.keep_partial(request, first, partial),
            )

        jointly = self.endpoint.profile.joint(request.sampling)
        return await self.store.draws(request, draws, sample, jointly=jointly)

    def _clean(self, drawn: Drawn) -> tuple[str, tuple[int, ...] | None]:
        """Return a generation's text and ids without the special tokens that end a turn."""
        generation = drawn.generation
        if generation.ids is None or self.tokenizer is None:
            return generation.text, None
        ids, close = generation.ids, self.dialect.close_ids
        if not close or ids[-len(close) :] != close:  # in some models the close is special too
            ids = self.tokenizer.without_end(ids)
        return self.tokenizer.decode(ids), ids


def _guess(prompt: Prompt) -> int:
    """Return more tokens than a prompt is likely to have, where nobody can count them."""
    text = str(prompt.plain if isinstance(prompt, OpenTurn) else prompt)
    return len(text) // 3 + 64


@dataclass
class _Draft:
    """One turn's writing as it grows, request by request."""

    model: Model
    turn: Turn
    prompt: Prompt
    seams: Seams | None = None
    text: str = ""
    ids: tuple[int, ...] | None = ()
    tokens: int = 0
    drawn: list[Drawn] = field(default_factory=list)
    stuck: bool = False
    """Whether the last request brought nothing but special tokens."""

    @property
    def _last(self) -> Drawn | None:
        return self.drawn[-1] if self.drawn else None

    @property
    def _closed_at(self) -> int:
        """Where the writer's own close tag begins, -1 where it wrote none."""
        return self.text.find(self.model.think_close) if self.turn.phase == "thinking" else -1

    @property
    def _torn(self) -> bool:
        """Whether the last token ends inside a character."""
        return self.ids is not None and self.text.endswith("\N{REPLACEMENT CHARACTER}")

    @property
    def _stops(self) -> tuple[str, ...]:
        stops = self.turn.until.stops
        through = self.turn.phase == "answer" or isinstance(self.turn.until, Answer)
        return stops if through else (*stops, self.model.think_close)

    def request(self, room: int) -> Request:
        """Ask for what is still missing."""
        until = self.turn.until
        limit = max(until.limit - self.tokens, 1) if until.limit is not None else room
        blind = self.model.endpoint.profile.max_stops == 0 and bool(until.stops)
        piece = until.piece or (BLIND if blind else room)
        most = min(room - self.tokens, limit, piece)
        if isinstance(self.prompt, tuple):
            prompt: Prompt = self.prompt + (self.ids or ())
        else:
            prompt = self.prompt + self.text
        model = self.model
        return Request(
            model.identity,
            prompt,
            model.sampling,
            most,
            self._stops,
            model.logprobs,
            model.replicate,
        )

    def add(self, drawn: Drawn) -> None:
        """Take one generation in."""
        self.drawn.append(drawn)
        text, ids = self.model._clean(drawn)
        self.stuck = not (text or ids)
        self.tokens += len(ids) if ids is not None else drawn.generation.completion_tokens
        if ids is None or self.ids is None or self.model.tokenizer is None:
            self.ids, self.text = None, self.text + text
        else:
            self.ids += ids
            self.text = self.model.tokenizer.decode(self.ids)

    def reached(self, room: int) -> Reached | None:
        """Say why the writing is over, None while it is not."""
        last = self._last
        if self.tokens >= room:
            return "length"
        if last is None:
            return None
        if self._closed_at >= 0:
            return "end"
        if self.turn.until.cut(self.text) is not None:
            return "boundary"
        ended = last.generation.finish == "stop"
        if self.stuck or (ended and not isinstance(last.generation.stop_reason, str)):
            return "end" if self.turn.phase == "answer" else "turn over"
        limit = self.turn.until.limit
        enough = limit is not None and self.tokens >= limit + (LONGEST if self._torn else 0)
        return "boundary" if enough else None

    def written(self) -> Written:
        """Cut the text at the boundary and name what was reached."""
        closed_at = self._closed_at
        cut = self.turn.until.cut(self.text)
        fresh = sum(drawn.fresh for drawn in self.drawn)
        written = partial(Written, sampled=fresh, stored=len(self.drawn) - fresh)
        if closed_at >= 0 and (cut is None or closed_at <= cut):
            units = [self._unit(0, closed_at, through=False)]
            if isinstance(self.turn.until, Answer):
                units.append(
                    replace(self._unit(closed_at + len(self.model.think_close)), phase="answer")
                )
            return written(tuple(units), "end", cut=len(units) > 1 and self._out_of_room)
        if cut is None:
            answering = self.turn.phase == "answer"
            return written((self._unit(0),), self._over(), cut=answering and self._out_of_room)
        if isinstance(self.turn.until, Tag):
            at = cut - len(self.turn.until.tag)
            before, tag = self._unit(0, at, through=False), self._unit(at, cut)
            units = [*([before] if before.text else []), replace(tag, kind="signal")]
            return written(tuple(units), "boundary")
        return written((self._unit(0, cut),), "boundary")

    @property
    def _out_of_room(self) -> bool:
        return self._last is not None and self._last.generation.finish == "length"

    def _over(self) -> Reached:
        return self.reached(self.tokens + 1) or "length"

    def _unit(self, start: int, end: int | None = None, through: bool = True) -> Unit:
        """Make a unit of the text between two characters, moved to whole tokens.

        The token that `end` falls into belongs to the unit if it goes `through`.
        """
        turn, tokenizer = self.turn, self.model.tokenizer
        text, ids = self.text[start:end], None
        tokens = round(self.tokens * len(text) / max(len(self.text), 1))
        if self.ids is not None and tokenizer is not None:
            ends = (0, *tokenizer.ends(self.ids))
            first = bisect_right(ends, start) - 1
            end = ends[-1] if end is None else ends[bisect_left(ends, end)] if through else end
            last = bisect_right(ends, end) - 1
            ids, text = self.ids[first:last], self.text[ends[first] : ends[last]]
            tokens = len(ids)
        return Unit(
            author=turn.seat,
            text=text,
            kind="generated",
            why=turn.why,
            phase=turn.phase,
            ids=ids,
            tokenizer=tokenizer.fingerprint if tokenizer and ids is not None else None,
            tokens=tokens,
            generations=tuple(drawn.generation.key for drawn in self.drawn),
            top20_entropy=self.drawn[-1].generation.top20_entropy if self.drawn else None,
            seams=None if start else self.seams,
        )
