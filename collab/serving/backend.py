"""The interface between the app and a model: a backend that completes jobs piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from collab.core.trajectory import Json

TokenIds: TypeAlias = tuple[int, ...]
ChatTurns: TypeAlias = Sequence[Mapping[str, Json]]
"""The messages as sent, with any further fields that a template may read."""


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt and the settings for its completion."""

    model: str
    prompt: TokenIds
    n: int = 1
    seed: int | None = None
    """Choice i equals choice 0 of the same job with `seed + i`. None: a new draw each time."""
    max_tokens: int = 16
    min_tokens: int = 0
    """Stops and the end of the sequence are ignored before this many tokens."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = -1
    """-1 is off."""
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    keep_stop: bool = False
    """Whether the text keeps the stop string at its end."""
    keep_special: bool = False
    """Whether the text keeps the names of special tokens."""
    ignore_end: bool = False
    """Whether to treat the end-of-sequence token like any other token."""
    logprobs: int | None = None
    """How many of the likeliest tokens to report at each position."""
    prompt_logprobs: int | None = None
    """How many to report at each position of the prompt, in addition to the prompt's token."""
    stream: bool = False
    """Whether the client reads while the text grows. If not, one piece per choice is enough."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log-probability of a token at its position, and of the likeliest tokens there."""

    token: str
    logprob: float
    top: tuple[TokenLogprob, ...] = ()
    id: int = 0
    rank: int = 1
    """1 is the likeliest."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of one choice."""

    text: str
    ids: TokenIds = ()
    choice: int = 0
    finish: Literal["stop", "length"] | None = None
    """Set on the last piece of the choice."""
    stop_reason: str | int | None = None
    """The stop string or stop id that ended the choice; None if the sequence ended by itself."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per token, if the job asked for them."""
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    """One for each token of the prompt but the first, if the job asked for them. Only the first
    piece of a choice has them."""
    cached: int = 0
    """How many tokens of the prompt came from a cache. Reported once per job."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """A checkpoint's sampling defaults, used for the settings that a request leaves out."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Card:
    """The properties of a served model."""

    context: int
    """The largest number of tokens in a prompt and its completion together."""
    vocabulary: int
    """Token ids are below this."""
    defaults: Defaults = Defaults()
    fingerprint: str | None = None
    """Names what the exact draws depend on besides the weights. Each reply carries it."""


@runtime_checkable
class Backend(Protocol):
    """A model behind the app. A method that raises `WireError` answers the request with it."""

    @property
    def cards(self) -> Mapping[str, Card]:
        """The models by name, the default one first."""

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize a text; with `special`, add the tokenizer's own special tokens (a BOS …)."""

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""

    def render(self, model: str, chat: ChatTurns, *, generate: bool, continue_final: bool) -> str:
        """Apply the chat template.

        `generate` opens a new turn; `continue_final` leaves the last message open instead.
        """

    def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of all choices. Closing the generator stops the work."""


class WireError(Exception):
    """An error that is sent as the reply to a request, in OpenAI's format."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field of the request that is at fault."""
        self.status = status
