"""Probes of the request: the model's name, the fields and the stop strings."""

from __future__ import annotations

import re

from collab.core.sampling import Request
from collab.endpoints.chat import ChatDialect
from collab.endpoints.client import Endpoint
from collab.endpoints.doctor.probe import Observation, Probe
from collab.errors import BadReply, ConfigError, Rejected

STOPS = tuple(f"</{number}>" for number in range(16))
"""More stop strings than any boundary uses."""
FEWER = (4, 1, 0)
"""Smaller numbers to try. OpenAI's API accepts 4, and so does vLLM by default."""
UNLISTED = re.compile(r"\banswered (?:4(?!0[123])\d\d|501)\b")
"""The error of a server without a list of models; a wrong key is another one."""
DISPENSABLE = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "seed", "n"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("add_special_tokens", "include_stop_str_in_output", "return_token_ids", "no_stop_trim"),
        *("separate_reasoning", "skip_special_tokens"),
    }
)
"""Request fields that may be dropped if the server refuses them."""


async def context_of(endpoint: Endpoint) -> int | None:
    """Return the model's context (tokens), or None if the server does not report it.

    A server that cannot list its models may still complete: this is noted.

    Raises:
        ConfigError: The server does not serve the model; the message lists those it serves.
        EndpointError: The server does not answer, or is not an OpenAI-compatible API.
    """
    try:
        models = {model.id or "": model for model in await endpoint.models()}
    except (BadReply, Rejected) as error:
        if (status := UNLISTED.search(str(error))) is None:
            raise
        endpoint.note(f"no list of models ({status[0]})")
        return None
    if not models:
        endpoint.note("no model in the list of models")
        return None
    if endpoint.model not in models:
        found = ", ".join(map(repr, sorted(models)))
        raise ConfigError(
            f"{endpoint.url} does not serve {endpoint.model!r} (it serves: {found}); "
            "set the model's `served` to one of them"
        )
    return models[endpoint.model].context


async def model(probe: Probe) -> Observation:
    """Check that the server serves the model, and look up its context."""
    context, known = await context_of(probe.endpoint), probe.endpoint.profile.max_model_len
    if context is None and known is None:
        return Observation("limited", "served; its context is unknown: set context")
    if context is None:
        return Observation("ok", f"served; context {known:,} tokens, from the config")
    return Observation("ok", f"served; context {context:,} tokens", {"max_model_len": context})


async def fields(probe: Probe) -> Observation:
    """Send every field, and drop those that the server refuses by name."""
    dropped: set[str] = set()
    while (refusal := await _refusal(probe, probe.request(tokens=1))) is not None:
        named = DISPENSABLE & set(re.findall(r"\w+", str(refusal))) - dropped
        if not named:
            raise refusal
        dropped |= named
        profile = probe.endpoint.profile
        probe.endpoint.profile = profile.model_copy(update={"drop": frozenset(dropped)})
    if not dropped:
        return Observation("ok", "accepted")
    learned = {
        "drop": frozenset(dropped),
        "takes_seed": "seed" not in dropped,
        "takes_n": "n" not in dropped,
        "takes_temperature": "temperature" not in dropped,
    }
    came = f"refused and no longer sent: {', '.join(sorted(dropped))}"
    return Observation("limited", came, learned)


async def stops(probe: Probe) -> Observation:
    """Send many stop strings, then fewer."""
    for most in (len(STOPS), *FEWER):
        request = probe.request(tokens=1, stop=STOPS[:most])
        if await _refusal(probe, request) is not None:
            continue
        if most == len(STOPS):
            return Observation("ok", "accepted")
        came = f"at most {most} accepted (for vLLM, raise VLLM_MAX_STOP_STRINGS)"
        return Observation("limited", came, {"max_stops": most})
    return Observation("limited", "refused, with stop strings and without")


async def _refusal(probe: Probe, request: Request) -> Rejected | None:
    """Draw, and return the server's refusal; an unreadable reply is left to other probes."""
    try:
        await probe.draw(request)
    except Rejected as refusal:
        return refusal
    except BadReply:
        return None
    return None


async def ids(probe: Probe) -> Observation:
    """Check whether the reply holds the token ids of the text."""
    request = probe.request(tokens=1)
    if isinstance(probe.dialect, ChatDialect) and not probe.dialect.open_fields:
        return Observation("untried", "this API has no token ids", {"returns_ids": False})
    returned = (await probe.draw(request)).choices[0].token_ids is not None
    if returned:
        return Observation("ok", "returned", {"returns_ids": True})
    if isinstance(request.prompt, tuple):
        came = "not returned, but the dialect sends ids: set dialect: text"
        return Observation("broken", came, {"returns_ids": False})
    came = "not returned: the server encodes the text again"
    return Observation("limited", came, {"returns_ids": False})
