"""What does the server take? Probes of the model's name, the fields of a request and its stops."""

from __future__ import annotations

import re

from collab.core.sampling import Request
from collab.endpoints.chat import ChatDialect
from collab.endpoints.client import Endpoint
from collab.endpoints.doctor.probe import Observation, Probe
from collab.errors import BadReply, ConfigError, Denied, Rejected

STOPS = tuple(f"</{number}>" for number in range(16))
"""More stop strings than any boundary has."""
FEWER = (4, 1, 0)
"""4 is what OpenAI's own API takes, and vLLM unless its VLLM_MAX_STOP_STRINGS says more."""
DISPENSABLE = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "seed", "n"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("add_special_tokens", "include_stop_str_in_output", "return_token_ids", "no_stop_trim"),
        *("separate_reasoning", "skip_special_tokens"),
    }
)
"""Fields of a request without which a server may still be of use."""


async def context_of(endpoint: Endpoint) -> int | None:
    """Look for the model among those served, and return its context where the server says it.

    Raises:
        ConfigError: It is not there; the message lists what is.
        EndpointError: The server is not there, or is no API; one that keeps no list is let be.
    """
    try:
        models = {model.id: model for model in await endpoint.models()}
    except (BadReply, Denied) as error:
        if "answered 404" in str(error):
            return None
        raise
    if endpoint.model not in models:
        found = ", ".join(map(repr, sorted(models))) or "nothing"
        raise ConfigError(
            f"{endpoint.url} does not serve {endpoint.model!r} (it serves: {found}); "
            "set the model's `served` to one of them"
        )
    return models[endpoint.model].max_model_len


async def model(probe: Probe) -> Observation:
    """Look for the model and its context."""
    context, said = await context_of(probe.endpoint), probe.endpoint.profile.max_model_len
    if context is None and said is None:
        return Observation("limited", "served; its context is not told: set context")
    if context is None:
        return Observation("ok", f"served; context {said:,} tokens, as it is set")
    return Observation("ok", f"served; context {context:,} tokens", {"max_model_len": context})


async def fields(probe: Probe) -> Observation:
    """Send every field once, then without those that are refused by name."""
    dropped: set[str] = set()
    while (refusal := await _refusal(probe, probe.request(tokens=1))) is not None:
        named = DISPENSABLE & set(re.findall(r"\w+", str(refusal))) - dropped
        if not named:
            raise refusal
        dropped |= named
        profile = probe.endpoint.profile
        probe.endpoint.profile = profile.model_copy(update={"drop": frozenset(dropped)})
    if not dropped:
        return Observation("ok", "taken")
    learned = {
        "drop": frozenset(dropped),
        "takes_seed": "seed" not in dropped,
        "takes_n": "n" not in dropped,
        "takes_temperature": "temperature" not in dropped,
    }
    return Observation("limited", f"refused, and left out: {', '.join(sorted(dropped))}", learned)


async def stops(probe: Probe) -> Observation:
    """Send many stop strings, then fewer."""
    for most in (len(STOPS), *FEWER):
        request = probe.request(tokens=1, stop=STOPS[:most])
        if await _refusal(probe, request) is not None:
            continue
        if most == len(STOPS):
            return Observation("ok", "taken")
        came = f"at most {most} are taken (vLLM: VLLM_MAX_STOP_STRINGS raises it)"
        return Observation("limited", came, {"max_stops": most})
    return Observation("limited", "refused, with stop strings and without")


async def _refusal(probe: Probe, request: Request) -> Rejected | None:
    """Draw, and return how it was refused; how a reply reads is for other probes."""
    try:
        await probe.draw(request)
    except Rejected as refusal:
        return refusal
    except BadReply:
        return None
    return None


async def ids(probe: Probe) -> Observation:
    """Look for the token ids that were written."""
    request = probe.request(tokens=1)
    if isinstance(probe.dialect, ChatDialect) and not probe.dialect.open_fields:
        return Observation("untried", "this API has none", {"returns_ids": False})
    told = (await probe.draw(request)).choices[0].token_ids is not None
    if told:
        return Observation("ok", "they come", {"returns_ids": True})
    if isinstance(request.prompt, tuple):
        return Observation(
            "broken", "none come, and ids are sent: set dialect: text", {"returns_ids": False}
        )
    return Observation(
        "limited", "none come: texts go back as the server encodes them", {"returns_ids": False}
    )
