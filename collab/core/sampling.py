"""Requests and generations: the values that endpoints exchange and the store keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from collab.core.trajectory import Json, Message

FinishReason = Literal["stop", "length", "context", "abort", "cancelled"]
"""Why a draw ended. `context`: the server returned fewer tokens than requested because its context
is full. `abort`: the server withheld the draw. `cancelled`: stopped by us, so it is no sample."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A conversation whose last turn, the model's own, is unfinished: a prompt for chat APIs."""

    dialect: str
    """The way the turn is sent; the same text in another dialect is another prompt."""
    messages: tuple[Message, ...]
    thought: str = ""
    """The text in the think block; if it is empty, the model begins the thinking."""
    said: str | None = None
    """The answer so far; None while the think block is open."""
    close: str = "</think>"
    rendered: str | None = field(default=None, compare=False)
    """The text that the server renders, if its chat template is known."""

    def __add__(self, text: str) -> OpenTurn:
        """Append text that the model wrote; its close tag ends the thinking."""
        rendered = None if self.rendered is None else self.rendered + text
        if self.said is not None:
            return replace(self, said=self.said + text, rendered=rendered)
        thought, close, said = text.partition(self.close)
        return replace(
            self,
            thought=self.thought + thought,
            said=said if close else None,
            rendered=rendered,
        )

    @property
    def plain(self) -> Json:
        """Everything that determines the model's next token, as JSON."""
        spoken = [[message.role, message.content] for message in self.messages]
        return [self.dialect, spoken, self.thought, self.said]


Prompt = tuple[int, ...] | str | OpenTurn
"""Token ids; rendered text if the endpoint takes no ids; a conversation if it takes neither."""


class Sampling(BaseModel):
    """How the next token is drawn. Every field is sent, so that no server default applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0, le=2)
    """0: greedy decoding."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int = Field(default=-1, ge=-1)
    """-1: off."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0)


@dataclass(frozen=True)
class Request:
    """Everything that determines a draw except its number: a prompt and how to continue it."""

    model: str
    """The model's identity, never its address: two servers of one model share their draws."""
    prompt: Prompt
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Strings that end the text; the matching one stays at its end."""
    logprobs: int | None = None
    """Number of likeliest tokens to report at each position; None: none."""
    replicate: int = 0
    scored: int = 0
    """Number of the prompt's last tokens to score. Their log-probabilities are the result; the
    token drawn after them is not used."""
    run: str = ""
    """The only run that may use the draws, if the model cannot be identified; else empty."""

    @cached_property
    def spelled(self) -> bytes:
        """The prompt as JSON, computed once; names and seeds of its draws derive from it."""
        if isinstance(self.prompt, tuple):
            return to_json(self.prompt)  # as json writes it, but fast
        plain = self.prompt.plain if isinstance(self.prompt, OpenTurn) else self.prompt
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities (nats) that a server reported, as far as they were requested."""

    drawn: tuple[float, ...] = ()
    """The log-probability of each drawn token."""
    entropies: tuple[float, ...] = ()
    """The entropy of the likeliest tokens at each position, normalised to sum to one."""
    tops: tuple[tuple[tuple[str, float], ...], ...] = ()
    """The likeliest tokens at each position, likeliest first; kept for short draws only."""
    scored: tuple[float, ...] = ()
    """The log-probabilities of the prompt's last tokens, if they were to be scored."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One stored draw: a sampled continuation of an exact prompt."""

    text: str
    """The decoding of `ids` if they are known, else the server's text, with the stop string that
    ended it."""
    ids: tuple[int, ...] | None
    finish: FinishReason
    stop_reason: str | int | None = None
    """The stop string that matched; None with finish `stop`: the model's end of sequence."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    """Prompt tokens in the server's prefix cache; None if the server does not report it."""
    logprobs: Logprobs | None = None
    """None unless they were requested."""
    seconds: float = 0.0
    """From the request to its last token."""
    served: str = ""
    """The server's name for the model, if it differs from the requested one, and its version."""
    key: str = ""
    """Its key in the store."""


OnText = Callable[[str], None]
"""Called with each piece of a text as it is written."""
OnCut = Callable[[Generation], object]
"""Called with the partial generation of a request that was cancelled."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generation, its draw number, and whether it is new."""

    draw: int
    generation: Generation
    fresh: bool
    """Whether it was sampled now; False: it was in the store."""
