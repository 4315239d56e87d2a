"""What plugs into the app: a backend that completes jobs piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from collab.core.trajectory import Json

TokenIds: TypeAlias = tuple[int, ...]
ChatTurns: TypeAlias = Sequence[Mapping[str, Json]]
"""The messages as they were sent, whatever fields a template may read."""


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt and how to go on from it."""

    model: str
    prompt: TokenIds
    n: int = 1
    seed: int | None = None
    """Choice i is what choice 0 would be with `seed + i`. None: a new draw each time."""
    max_tokens: int = 16
    min_tokens: int = 0
    """Before that many tokens neither a stop nor the end of the sequence counts."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = -1
    """-1 is off."""
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    keep_stop: bool = False
    """Whether the stop string stays at the end of the text."""
    keep_special: bool = False
    """Whether special tokens leave their names in the text."""
    ignore_end: bool = False
    """Whether the end of the sequence is a token like any other."""
    logprobs: int | None = None
    """How many of the likeliest tokens to report at each position."""
    prompt_logprobs: int | None = None
    """How many of them to report at each position of the prompt, beside its own token."""
    stream: bool = False
    """Whether somebody reads along; if not, one piece a choice is enough."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log-probability of a token in its place, and of the likeliest ones there."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()
    id: int = 0
    rank: int = 1
    """1 is the likeliest."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next stretch of one choice."""

    text: str
    ids: TokenIds = ()
    choice: int = 0
    finish: Literal["stop", "length"] | None = None
    """Set on the last piece of the choice."""
    stop_reason: str | int | None = None
    """The stop string or stop id that ended it; None where the sequence ended by itself."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One a token, where the job asked for them."""
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    """One for each token of the prompt but the first, where the job asked for them; said with a
    choice's first piece."""
    cached: int = 0
    """How many tokens of the prompt came from a cache; said once a job."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """A checkpoint's own way to sample, in force where a request is silent."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Card:
    """What is served under one name."""

    context: int
    """The most tokens of a prompt and its completion together."""
    vocabulary: int
    """Token ids are below this."""
    defaults: Defaults = Defaults()
    fingerprint: str | None = None
    """What the bits of a draw depend on beside the weights; each reply says it."""


@runtime_checkable
class Backend(Protocol):
    """Who does the work. Every method may raise `WireError` to answer the request with it."""

    @property
    def cards(self) -> Mapping[str, Card]:
        """The models by name, the default one first."""

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize; with `special`, add what the tokenizer adds by itself (such as a BOS)."""

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""

    def render(self, model: str, chat: ChatTurns, *, generate: bool, go_on: bool) -> str:
        """Apply the chat template.

        `generate` opens a new turn; `go_on` leaves the last message open instead.
        """

    def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of all choices; closing the generator stops the work."""


class WireError(Exception):
    """A request that is answered with an error in OpenAI's shape."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field of the request that is at fault."""
        self.status = status
