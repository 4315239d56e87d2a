"""Draws of a model behind an endpoint, with the store between them.

What a turn writer and an adviser draw from: requests, the room for them, texts without end tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from collab.core.cost import Account, Rates
from collab.core.sampling import (
    Drawn,
    Generation,
    OnCut,
    OnText,
    OpenTurn,
    Prompt,
    Request,
    Sampling,
)
from collab.core.trajectory import Trajectory
from collab.episode.reasoner import Turn
from collab.store.draw_keys import seed_of

if TYPE_CHECKING:
    from collab.endpoints.dialects import Dialect
    from collab.endpoints.profile import Profile
    from collab.endpoints.tokens import Tokenizer
    from collab.store.store import Store


class CompletionEndpoint(Protocol):
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


class _NoTokenIds(Exception):
    """A server does not tell its tokens."""


@dataclass(frozen=True)
class StoredModel:
    """A model behind an endpoint, with the store between them."""

    identity: str
    """Names the weights, never the address."""
    endpoint: CompletionEndpoint
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
                raise _NoTokenIds
            return [Generation(json.dumps(ends), None, "stop", prompt_tokens=len(ends))]

        try:
            (told,) = await self.store.draws(request, range(1), ask)
        except _NoTokenIds:
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


def _guess(prompt: Prompt) -> int:
    """Return more tokens than a prompt is likely to have, where nobody can count them."""
    text = str(prompt.plain if isinstance(prompt, OpenTurn) else prompt)
    return len(text) // 3 + 64
