"""What is sampled and what came back: what the store keeps and the endpoints exchange."""

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
"""Why a draw ended; `context`: the server gave fewer tokens than were asked for, as no more fit
there; `abort`: it held the draw back; `cancelled`: stopped by us, and no sample."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A conversation whose last turn is the model's own and not over: what a chat API is sent."""

    dialect: str
    """How the turn is begun there: the same words are another prompt in another dialect."""
    messages: tuple[Message, ...]
    thought: str = ""
    """What stands in the think block; with nothing in it, the model begins by itself."""
    said: str | None = None
    """The answer so far; None while the think block is open."""
    close: str = "</think>"
    rendered: str | None = field(default=None, compare=False)
    """The text that the server makes of it, where its chat template is known."""

    def __add__(self, text: str) -> OpenTurn:
        """Go on with what the model wrote; its close tag ends the thinking."""
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
        """What decides the model's next token, as JSON."""
        spoken = [[message.role, message.content] for message in self.messages]
        return [self.dialect, spoken, self.thought, self.said]


Prompt = tuple[int, ...] | str | OpenTurn
"""Token ids; rendered text where the endpoint takes no ids; a conversation where it takes none."""


class Sampling(BaseModel):
    """How the next token is drawn. Every field is sent: no server's own default is in force."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0, le=2)
    """0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int = Field(default=-1, ge=-1)
    """-1 is off."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0)


@dataclass(frozen=True)
class Request:
    """What decides a draw, the draw's own number apart: one prompt and how to go on from it."""

    model: str
    """The model's identity, never its address: two servers with one model share their draws."""
    prompt: Prompt
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Strings that end the text; kept at its end."""
    logprobs: int | None = None
    """How many of the likeliest tokens to report at each place."""
    replicate: int = 0
    scored: int = 0
    """How many of the prompt's last tokens to score: their log-probabilities are what is wanted,
    and what is drawn after them is not used."""
    run: str = ""
    """The one run that has its draws, where nobody can tell which model it is that writes."""

    @cached_property
    def spelled(self) -> bytes:
        """The prompt as JSON, made once: its draws are named after it, and so are their seeds."""
        if isinstance(self.prompt, tuple):
            return to_json(self.prompt)  # as json writes it, but fast
        plain = self.prompt.plain if isinstance(self.prompt, OpenTurn) else self.prompt
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Logprobs:
    """What a server reported of its tokens' chances (nats), as far as it was asked for."""

    drawn: tuple[float, ...] = ()
    """The log-probability of each token drawn."""
    entropies: tuple[float, ...] = ()
    """The entropy of the likeliest tokens at each place, their chances made to sum to one."""
    tops: tuple[tuple[tuple[str, float], ...], ...] = ()
    """The likeliest tokens at each place, likeliest first; kept of short draws alone."""
    scored: tuple[float, ...] = ()
    """The log-probabilities of the prompt's last tokens, where these were to be scored."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One stored draw: a sampled continuation of an exact prompt."""

    text: str
    """The decoding of `ids` where they are known, else the server's text; ends in the stop
    string that ended it."""
    ids: tuple[int, ...] | None
    finish: FinishReason
    stop_reason: str | int | None = None
    """The stop string that matched; None with finish `stop` is the model's end of sequence."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    """How much of the prompt the server had in its prefix cache, where it says so."""
    logprobs: Logprobs | None = None
    """Where they were asked for."""
    seconds: float = 0.0
    """From the request to its last token."""
    served: str = ""
    """What the server called the model, if not what it was asked for, and its version."""
    key: str = ""
    """Its name in the store."""


OnText = Callable[[str], None]
"""Receives each piece of a text as it is written."""
OnCut = Callable[[Generation], object]
"""Receives what a request had drawn when it was cancelled."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generation with where it came from."""

    draw: int
    generation: Generation
    fresh: bool
    """Sampled now; False where the store had it."""
