"""What an endpoint can do, and the short look at the start of a run that finds out.

A run whose server is dead, is no API, serves another model or alters prompts stops here, with one
error that says so, before any work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError, Rejected
from collab.sampling import Generation, Request, Sampling
from collab.trajectory import Message, Trajectory

if TYPE_CHECKING:
    from collab.endpoints.client import Endpoint
    from collab.endpoints.dialects import Dialect

PROBE = (Message("user", "What is 1 + 1?"),)
STOPS = tuple(f"</{number}>" for number in range(16))
"""More stop strings than any boundary has."""
USUAL_STOPS = 4
"""What OpenAI's own API takes, and vLLM unless its VLLM_MAX_STOP_STRINGS says more."""


DialectName = Literal[
    "ids",
    "text",
    "sglang",
    "llamacpp",
    "ollama",
    "chat_cfm",
    "chat_cfm_after_gen",
    "reasoning_field",
    "deepseek_prefix",
    "mistral_prefix",
    "partial",
    "none",
]
"""How a partial thought is continued."""


class Profile(BaseModel):
    """What is known of an endpoint that serves one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: DialectName = "ids"
    """How a thought is continued here."""
    returns_ids: bool = True
    """Replies carry the ids that were read and written."""
    takes_n: bool = True
    """One request may ask for several draws."""
    takes_seed: bool = True
    """A seed decides the draw."""
    max_stops: int | None = None
    """Stop strings that a request may have; None where there is no bound."""
    logprobs: bool = True
    """The likeliest tokens can be asked for."""
    scores: bool = True
    """A prompt's own log-probabilities can be asked for."""
    can_write_thinking: bool = True
    """The endpoint continues a thought; without it, it advises and answers."""
    max_model_len: int | None = None
    """Prompt and reply together (tokens), where the server says so."""
    checked: Literal["real", "engine", "documented"] = "documented"
    """How this is known: seen on this server, seen on this engine, or read in its documents."""

    def joint(self, sampling: Sampling) -> bool:
        """Say whether one request may ask for several draws (greedy ones are drawn alone)."""
        return self.takes_n and sampling.temperature > 0


async def check(endpoint: Endpoint, dialect: Dialect, tokenizer: Tokenizer | None) -> Profile:
    """Look at a server: does it serve the model, and does it read the prompt that we send?

    One list of models and one sampled token. The endpoint keeps the profile.

    Raises:
        ConfigError: The model is not served here; the message lists what is.
        EndpointError: The server is not there, is no API, or changed the prompt.
    """
    max_model_len = await _served(endpoint)
    request = Request(
        model=endpoint.model,
        prompt=dialect.prompt(PROBE, Trajectory(), "thinking", "").prompt,
        sampling=Sampling(temperature=0),
        max_tokens=1,
        stop=STOPS,
    )
    sample = await _sample(endpoint, request)
    endpoint.profile = endpoint.profile.model_copy(
        update={
            "dialect": dialect.name,
            "returns_ids": sample.ids is not None,
            "max_model_len": max_model_len,
            "checked": "real",
        }
    )
    return endpoint.profile


async def _sample(endpoint: Endpoint, request: Request) -> Generation:
    """Draw once; a server that refuses so many stop strings is sent few from now on."""
    try:
        (sample,) = await endpoint.complete(request, range(1), seed=0)
    except Rejected:
        few = {"max_stops": USUAL_STOPS}
        endpoint.profile = endpoint.profile.model_copy(update=few)
        (sample,) = await endpoint.complete(request, range(1), seed=0)
    return sample


async def _served(endpoint: Endpoint) -> int | None:
    models = {model.id: model for model in await endpoint.models()}
    if endpoint.model not in models:
        served = ", ".join(map(repr, sorted(models))) or "nothing"
        raise ConfigError(
            f"{endpoint.url} does not serve {endpoint.model!r} (it serves: {served}); "
            "set the model's `served` to one of them"
        )
    return models[endpoint.model].max_model_len
