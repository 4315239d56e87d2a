"""Draws of a model: requests to its endpoint, with the store in between.

Turn writers and advisers draw from it: it makes requests, bounds their length, and removes end
tokens from the texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from collab.core.cost import Account, Rates
from collab.core.sampling import (
    Drawn,
    Generation,
    OnText,
    OpenTurn,
    Prompt,
    Request,
    Sampling,
)
from collab.core.trajectory import Trajectory
from collab.endpoints.draw_source import CompletionEndpoint, DrawSource
from collab.episode.reasoner import Turn

if TYPE_CHECKING:
    from collab.endpoints.dialects import Dialect
    from collab.endpoints.tokens import Tokenizer
    from collab.store.store import Store


class _NoTokenIds(Exception):
    """The server does not report its tokens."""


@dataclass(frozen=True)
class StoredModel:
    """A model whose draws come from the store, or else from its endpoint."""

    identity: str
    """Identifies the weights, never the address."""
    endpoint: CompletionEndpoint
    dialect: Dialect
    tokenizer: Tokenizer | None
    store: Store
    sampling: Sampling
    think_close: str = "</think>"
    """The close tag; empty: the model has none, and the end of its turn closes its thinking."""
    context: int | None = None
    """The limit on prompt and completion together (tokens); None: unknown."""
    replicate: int = 0
    logprobs: int | None = None
    run: str = ""
    """The only run that may use its draws; empty: any run, as its identity is known."""
    account: Account = field(default_factory=Account, compare=False)
    """Pays for the draws that are sampled."""

    @property
    def rates(self) -> Rates:
        """Convert its token counts to cost."""
        return self.account.rates

    @property
    def can(self) -> frozenset[str]:
        """Its abilities by the endpoint's profile."""
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
        """Make a request for at most `max_tokens` tokens after a prompt."""
        greedily = self.sampling.model_copy(update={"temperature": 0.0})
        sampling = greedily if greedy else self.sampling
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
        """Return the ends of the tokens in a text (characters); None if they are unknown.

        The tokens are `ids` if given, else the model's own tokens of the whole text.
        """
        if self.tokenizer is None:
            return await self._server_ends(text)
        ids = self.tokenizer.encode(text) if ids is None else ids
        return self.tokenizer.ends(ids) if self.tokenizer.decode(ids) == text else None

    async def _server_ends(self, text: str) -> tuple[int, ...] | None:
        """Return the ends of the server's tokens in a text; None if it does not report them.

        They are stored like a draw of no tokens, so that a run that continues without the server
        cuts at the same places.
        """
        request = self.request(text, 0, greedy=True)

        async def ask(_: range) -> list[Generation]:
            ends = await self.endpoint.ends(text)
            if ends is None:
                raise _NoTokenIds
            return [Generation(json.dumps(ends), None, "stop", prompt_tokens=len(ends))]

        try:
            (drawn,) = await self.store.draws(request, range(1), ask)
        except _NoTokenIds:
            return None
        return tuple(json.loads(drawn.generation.text))

    def room(self, turn: Turn, prompt: Prompt) -> tuple[int, Literal["length", "context"]]:
        """Return how many tokens may still be written, and which limit applies."""
        messages = turn.question.messages
        head = self.dialect.prompt(messages, Trajectory(), "thinking", turn.seat).prompt
        size, before = self._size(prompt), self._size(head)
        if size is None or before is None:
            size, room = _estimate_size(prompt), turn.budget - turn.trajectory.tokens
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
        """Return draws of a request, from the store if it has them.

        Raises:
            CapReached: A draw must be sampled, but a cap of the run is reached.
        """
        source = DrawSource(request, self.endpoint, self.store, self.account, on_text)
        jointly = self.endpoint.profile.joint(request.sampling)
        return await self.store.draws(request, draws, source, jointly=jointly, account=self.account)

    def clean(self, drawn: Drawn) -> tuple[str, tuple[int, ...] | None]:
        """Return a generation's text and ids without the special tokens that end a turn."""
        generation = drawn.generation
        if generation.ids is None or self.tokenizer is None:
            return generation.text, None
        ids, close = generation.ids, self.dialect.close_ids
        ended = generation.finish == "stop" and not isinstance(generation.stop_reason, str)
        if ended and (not close or ids[-len(close) :] != close):  # tags may be special
            ids = self.tokenizer.without_end(ids)
        return self.tokenizer.decode(ids), ids


def prompt_text(prompt: Prompt, tokenizer: Tokenizer | None) -> str:
    """Return a prompt as text: ids are decoded, a conversation becomes JSON."""
    if isinstance(prompt, OpenTurn):
        return prompt.rendered or json.dumps(prompt.plain, ensure_ascii=False, indent=1)
    if isinstance(prompt, str) or tokenizer is None:
        return str(prompt)
    return tokenizer.decode(prompt)


def _estimate_size(prompt: Prompt) -> int:
    """Return an upper estimate of a prompt's tokens, for prompts that cannot be counted."""
    text = str(prompt.plain if isinstance(prompt, OpenTurn) else prompt)
    return len(text) // 3 + 64
