"""What is sampled and what came back: what the store keeps and the endpoints exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Finish = Literal["stop", "length", "abort", "cancelled"]
"""Why a draw ended; `abort`: the server held it back; `cancelled`: stopped by us, and no sample."""
Prompt = tuple[int, ...] | str
"""Token ids, or rendered text where the endpoint takes no ids."""


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


@dataclass(frozen=True, slots=True)
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
    """How many of the likeliest tokens to report at each position."""
    replicate: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """One stored draw: a sampled continuation of an exact prompt."""

    text: str
    """The decoding of `ids` where they are known, else the server's text; ends in the stop
    string that ended it."""
    ids: tuple[int, ...] | None
    finish: Finish
    stop_reason: str | int | None = None
    """The stop string that matched; None with finish `stop` is the model's end of sequence."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    """How much of the prompt the server had in its prefix cache, where it says so."""
    top20_entropy: float | None = None
    """Mean entropy over the likeliest tokens reported (nats a token)."""
    seconds: float = 0.0
    """From the request to its last token."""
    key: str = ""
    """Its name in the store."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A generation with where it came from."""

    draw: int
    generation: Generation
    fresh: bool
    """Sampled now; False where the store had it."""
