"""The short look at a server at the start of a run.

A run whose server is dead, is no API, serves another model or alters prompts stops here, with one
error that says so, before any work.
"""

from __future__ import annotations

from collab.core.sampling import Generation, OpenTurn, Request, Sampling
from collab.core.trajectory import Trajectory
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect
from collab.endpoints.doctor import reading
from collab.endpoints.doctor.probe import QUESTION, Probe
from collab.endpoints.doctor.taking import FEWER, STOPS, context_of
from collab.endpoints.profile import Profile
from collab.endpoints.tokens import Tokenizer
from collab.errors import PromptChanged, Rejected


async def check(endpoint: Endpoint, dialect: Dialect, tokenizer: Tokenizer | None) -> Profile:
    """Check that a server serves the model and reads the prompt that is sent.

    The check lists the models and samples one token. If the reply does not report the prompt, it
    samples two more, after a short and a long thought: the prompt's token count must grow. The
    endpoint keeps the profile.

    Raises:
        ConfigError: The server does not serve the model; the message lists those it serves.
        EndpointError: The server cannot be reached, is not an API, or changed the prompt.
    """
    known = endpoint.profile
    max_model_len = await context_of(endpoint)
    request = Request(
        model=endpoint.model,
        prompt=dialect.prompt(QUESTION, Trajectory(), "thinking", "").prompt,
        sampling=Sampling(temperature=0),
        max_tokens=1,
        stop=STOPS,
    )
    sample = await _sample(endpoint, request)
    endpoint.profile = endpoint.profile.model_copy(
        update={
            "dialect": dialect.name,
            "returns_ids": sample.ids is not None,
            "max_model_len": max_model_len or known.max_model_len,
            "checked": "real",
        }
    )
    if isinstance(request.prompt, OpenTurn) and dialect.continues:
        await _check_growth(endpoint, dialect)
    return endpoint.profile


async def _check_growth(endpoint: Endpoint, dialect: Dialect) -> None:
    seen = await reading.growth(Probe(endpoint, dialect, endpoint.tokenizer, ("", "")))
    if seen.verdict == "broken":
        raise PromptChanged(
            f"{endpoint.url} does not read the partial thoughts it is sent ({seen.came}); "
            "run collab doctor"
        )


async def _sample(endpoint: Endpoint, request: Request) -> Generation:
    """Draw once; a server that refuses so many stop strings is sent few from now on."""
    try:
        (sample,) = await endpoint.complete(request, range(1), seed=0)
    except Rejected:
        few = {"max_stops": FEWER[0]}
        endpoint.profile = endpoint.profile.model_copy(update=few)
        (sample,) = await endpoint.complete(request, range(1), seed=0)
    return sample
