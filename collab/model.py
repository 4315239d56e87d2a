"""A model behind an endpoint, with the store between them.

It speaks in units whose text is the decoding of its own token ids wherever ids are known.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from collab.advice import advise, score, side_prompt
from collab.boundary import Answer
from collab.draft import Draft
from collab.draws import seed_of
from collab.errors import ContextFull
from collab.ledger import Account, Rates
from collab.policy import Inquiry
from collab.reasoner import OnText, Rated, Reply, Turn, Written
from collab.sampling import Drawn, Generation, OpenTurn, Prompt, Request, Sampling
from collab.trajectory import Question, Recording, Trajectory, Unit

OnCut = Callable[[Generation], object]
LONG = 10_000
"""Characters of others' text that take longer to encode (8 ms) than a thread does to start."""

if TYPE_CHECKING:
    from collab.endpoints.dialects import Dialect, Laid
    from collab.endpoints.profile import Profile
    from collab.endpoints.tokens import Tokenizer
    from collab.store import Store


class Completes(Protocol):
    """What a model needs of its endpoint."""

    @property
    def profile(self) -> Profile:
        """What is known of the endpoint."""
        ...

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

    async def ends(self, text: str) -> tuple[int, ...] | None:
        """Return where the server's tokens end in a text (characters), None if it does not tell."""
        ...


class _Untold(Exception):
    """A server does not tell its tokens."""


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
    """Empty where the model has no tags: the end of its turn closes its thinking."""
    context: int | None = None
    """Prompt and completion together (tokens)."""
    replicate: int = 0
    logprobs: int | None = None
    run: str = ""
    """The run that alone has its draws; empty where its identity is known."""
    account: Account = field(default_factory=Account, compare=False)
    """Pays for what is sampled."""

    @property
    def rates(self) -> Rates:
        """What its tokens are counted up by."""
        return self.account.rates

    @property
    def can(self) -> frozenset[str]:
        """What the endpoint's profile allows."""
        profile = self.endpoint.profile
        allowed = {"answer", "advise"}
        if self.dialect.continues:
            allowed.add("write")
        if profile.logprobs:
            allowed.add("logprobs")
        if profile.scores and self.dialect.name == "ids":
            allowed.add("score")
        return frozenset(allowed)

    def request(
        self,
        prompt: Prompt,
        max_tokens: int,
        *,
        stop: tuple[str, ...] = (),
        logprobs: int | None = None,
        scored: int = 0,
        greedy: bool = False,
    ) -> Request:
        """Ask for at most so many of this model's tokens behind a prompt."""
        cold = self.sampling.model_copy(update={"temperature": 0.0})
        sampling = cold if greedy else self.sampling
        return Request(
            self.identity,
            prompt,
            sampling,
            max_tokens,
            stop,
            logprobs,
            self.replicate,
            scored,
            self.run,
        )

    def count(self, text: str) -> int | None:
        """Count with the model's own tokenizer."""
        return len(self.tokenizer.encode(text)) if self.tokenizer else None

    async def write(self, turn: Turn) -> Written:
        """Sample from the exact trajectory until the boundary, the close tag or the budget."""
        answering = turn.phase == "answer" and turn.trajectory.closed_by == turn.seat
        if answering and not self.think_close:
            return Written((), "end")  # its answer is in the turn that it has ended
        laid = await self._lay(turn)
        room, wall = self.room(turn, laid.prompt)
        draft = Draft(self, turn, laid.prompt, laid.seams)
        while not draft.reached(room):
            request = draft.request(room)
            try:
                (drawn,) = await self.draw(request, [turn.number(request)], turn.on_text)
            except ContextFull:
                if not draft.drawn:
                    raise
                wall = "context"  # nobody said how much fits; what was written stays
                break
            draft.add(drawn)
        written = draft.written()
        return replace(written, reached=wall) if written.reached == "length" else written

    async def _lay(self, turn: Turn) -> Laid:
        """Lay out a turn's prompt; where much of it must be encoded, others go on meanwhile."""
        given = (turn.question.messages, turn.trajectory, turn.phase, turn.seat)
        others = (unit for unit in turn.trajectory.units if unit.author != turn.seat)
        if sum(len(unit.text) for unit in others) < LONG:
            return self.dialect.prompt(*given)
        return await asyncio.to_thread(self.dialect.prompt, *given)

    def reads(self, turn: Turn, inquiry: Inquiry | None = None) -> str:
        """Return the text of the exact prompt that a turn, or a side question in it, would send."""
        if inquiry is None:
            messages, phase = turn.question.messages, turn.phase
            prompt = self.dialect.prompt(messages, turn.trajectory, phase, turn.seat).prompt
        else:
            prompt = side_prompt(self, turn, inquiry)
        return legible(prompt, self.tokenizer)

    async def solo(
        self, question: Question, draws: range, budget: int
    ) -> list[tuple[Recording, Drawn]]:
        """Draw whole trajectories, thinking and answer, from the bank's numbers.

        Raises:
            ContextFull: The question leaves no room, or the server gives less than is asked for.
        """
        turn = Turn("", question, Trajectory(), "thinking", Answer(), budget, lambda _: 0)
        prompt = self.dialect.prompt(question.messages, turn.trajectory, "thinking", "").prompt
        room, _ = self.room(turn, prompt)
        if room < 1:
            raise ContextFull(f"question {question.id!r} leaves no room to think in")
        request = Draft(self, turn, prompt).request(room)
        taken = await self.draw(request, draws)
        for one in taken:
            _check_whole(question, request, one.generation)
        return [(await self._recording(turn, prompt, drawn), drawn) for drawn in taken]

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Answer a side question from the messages, the thinking so far and the question."""
        return await advise(self, turn, inquiry)

    async def score(self, turn: Turn, text: str) -> Rated:
        """Say how likely its own tokens for `text` are behind the exact trajectory.

        Raises:
            PolicyError: The endpoint scores no prompts, or there are no tokens in the text.
        """
        return await score(self, turn, text)

    async def _recording(self, turn: Turn, prompt: Prompt, drawn: Drawn) -> Recording:
        draft = Draft(self, turn, prompt)
        draft.add(drawn)
        written = draft.written()
        thinking, *rest = written.units or (Unit("", "", "generated"),)
        if not self.think_close and written.reached == "end":
            rest = [thinking]  # its answer is in it
        ends = await self.ends(thinking.text, thinking.ids)
        return Recording(
            question=turn.question.id,
            text=thinking.text,
            tokens=thinking.tokens if ends is None else len(ends),
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

    async def ends(self, text: str, ids: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        """Return where tokens end in a text (characters), None where nobody can tell.

        They are those it was drawn in, or else the model's own of the text in one piece.
        """
        if self.tokenizer is None:
            return await self._told_ends(text)
        ids = self.tokenizer.encode(text) if ids is None else ids
        return self.tokenizer.ends(ids) if self.tokenizer.decode(ids) == text else None

    async def _told_ends(self, text: str) -> tuple[int, ...] | None:
        """Return where the server's tokens end in a text, None if it does not tell.

        What it tells is stored as a draw of no tokens is, so that a run that goes on without the
        server cuts where it did before.
        """
        request = self.request(text, 0, greedy=True)

        async def ask(_: range) -> list[Generation]:
            ends = await self.endpoint.ends(text)
            if ends is None:
                raise _Untold
            return [Generation(json.dumps(ends), None, "stop", prompt_tokens=len(ends))]

        try:
            (told,) = await self.store.draws(request, range(1), ask)
        except _Untold:
            return None
        return tuple(json.loads(told.generation.text))

    def room(self, turn: Turn, prompt: Prompt) -> tuple[int, Literal["length", "context"]]:
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

    async def draw(
        self, request: Request, draws: Sequence[int] | range, on_text: OnText | None = None
    ) -> list[Drawn]:
        """Return draws of a request, from the store where it has them.

        Raises:
            CapReached: One must be sampled, and the run has spent what it may.
        """

        async def sample(missing: range) -> list[Generation]:
            first, seed = missing.start, seed_of(request, missing.start)

            def cut(partial: Generation) -> None:
                self.store.keep_partial(request, first, partial, self.account)

            async with self.account.request():
                return await self.endpoint.complete(
                    request, missing, seed=seed, on_text=on_text, on_cut=cut
                )

        jointly = self.endpoint.profile.joint(request.sampling)
        return await self.store.draws(request, draws, sample, jointly=jointly, account=self.account)

    def clean(self, drawn: Drawn) -> tuple[str, tuple[int, ...] | None]:
        """Return a generation's text and ids without the special tokens that end a turn."""
        generation = drawn.generation
        if generation.ids is None or self.tokenizer is None:
            return generation.text, None
        ids, close = generation.ids, self.dialect.close_ids
        ended = generation.finish == "stop" and not isinstance(generation.stop_reason, str)
        if ended and (not close or ids[-len(close) :] != close):  # it may be of special tokens too
            ids = self.tokenizer.without_end(ids)
        return self.tokenizer.decode(ids), ids


def legible(prompt: Prompt, tokenizer: Tokenizer | None) -> str:
    """Return a prompt as text: ids decoded, the turns of a conversation as JSON."""
    if isinstance(prompt, OpenTurn):
        return prompt.rendered or json.dumps(prompt.plain, ensure_ascii=False, indent=1)
    if isinstance(prompt, str) or tokenizer is None:
        return str(prompt)
    return tokenizer.decode(prompt)


def _check_whole(question: Question, request: Request, drawn: Generation) -> None:
    if drawn.finish == "context":
        raise ContextFull(
            f"question {question.id!r}: the server stopped after {drawn.completion_tokens:,} of "
            f"{request.max_tokens:,} tokens, at {drawn.prompt_tokens + drawn.completion_tokens:,} "
            "with the prompt, and says no more: set the model's context to what it holds, or "
            "budget to what it writes"
        )


def _guess(prompt: Prompt) -> int:
    """Return more tokens than a prompt is likely to have, where nobody can count them."""
    text = str(prompt.plain if isinstance(prompt, OpenTurn) else prompt)
    return len(text) // 3 + 64
