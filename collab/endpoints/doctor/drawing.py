"""Does the server draw as it is asked? Probes of stops, sampling, seeds and the bill."""

from __future__ import annotations

import asyncio

from collab.core.sampling import Request, Sampling
from collab.endpoints.chat import ChatDialect
from collab.endpoints.doctor.probe import FREE, GREEDY, LONGEST, Observation, Probe, quoted
from collab.endpoints.doctor.reading import BEGIN
from collab.endpoints.profile import ProbeVerdict
from collab.endpoints.reply import Usage
from collab.errors import Rejected

SEED = 7
NOTHING = "no text came back to compare"
HIDDEN = 0.6
"""Less than this share of the thinking billed is no longer all of it."""


def _begun(
    probe: Probe, sampling: Sampling = GREEDY, stop: tuple[str, ...] = (), top: int | None = None
) -> Request:
    """Go on with a thought; where none can be begun, think and answer."""
    if probe.dialect.continues:
        return probe.request(BEGIN, sampling=sampling, stop=stop, logprobs=top)
    return probe.request(tokens=LONGEST, sampling=sampling, stop=stop, logprobs=top)


async def stop(probe: Probe) -> Observation:
    """Stop at a string that is known to come."""
    (whole,) = await probe.texts(_begun(probe))
    at = _stretch(whole, probe.tags[1])
    if at is None:
        return Observation("untried", f"too little text to stop in: {quoted(whole)}")
    wanted = whole[at : at + 4]
    choice = (await probe.draw(_begun(probe, stop=(wanted,)))).choices[0]
    if choice.text == whole[: at + 4] or choice.text.endswith(wanted):
        return Observation("ok", "stopped; the string is kept")
    none = {"max_stops": 0}
    if not choice.text and not probe.dialect.continues:
        came = "stopped in what it thinks and does not show: units are cut here"
        return Observation("limited", came, none)
    if choice.text != whole[:at]:
        return Observation(
            "limited", f"not stopped: {quoted(choice.text)}; units are cut here", none
        )
    if choice.token_ids is not None:
        return Observation(
            "limited", "stopped; the string is cut off the text, and whole in the ids"
        )
    if choice.stop_reason == wanted:
        return Observation(
            "limited", "stopped; the string is cut off, and put back as the reply names it"
        )
    came = "stopped; the string is cut off, and which it was is not told: units are cut here"
    return Observation("limited", came, none)


def _stretch(text: str, close: str) -> int | None:
    """Find four characters that come once, from the second third of a thought or an answer on."""
    thought, _, answer = text.partition(close) if close else (text, "", "")
    first, last = (0, len(thought)) if thought.strip() else (len(text) - len(answer), len(text))
    places = range(first + (last - first) // 3, last - 4)
    return next((at for at in places if text.find(text[at : at + 4]) == at), None)


async def temperature(probe: Probe) -> Observation:
    """Draw greedily with several seeds: the texts must be one."""
    request = _begun(probe)
    texts = {text for seed in range(3) for text in await probe.texts(request, seed=seed)}
    if not any(texts):
        return Observation("untried", NOTHING)
    if len(texts) == 1:
        return Observation("ok", "three greedy draws are one text")
    came = f"{len(texts)} texts of three greedy draws: the server samples as it likes"
    return Observation("limited", came, {"takes_temperature": False})


async def choices(probe: Probe) -> Observation:
    """Ask for two draws in one request."""
    one = {"takes_n": False}
    try:
        reply = await probe.once(_begun(probe, FREE), n=2, seed=SEED)
    except Rejected as refusal:
        return Observation("limited", f"refused, so one draw a request ({str(refusal)[:80]})", one)
    if len(reply.choices) != 2:
        return Observation("limited", f"{len(reply.choices)} came, so one draw a request", one)
    return Observation("ok", "two came")


async def seeds(probe: Probe) -> Observation:
    """Compare draws of the same seed: again, as a second choice, and in a crowd."""
    request = _begun(probe, FREE)

    async def alone(seed: int) -> str:
        return await probe.text(request, seed=seed)

    (first,), (second,) = [await probe.texts(request, seed=SEED + i) for i in range(2)]
    if first != await alone(SEED):
        return Observation(
            "limited", "one seed, two texts: a rerun has other draws", {"takes_seed": False}
        )
    joint = probe.endpoint.profile.takes_n
    if joint and await probe.texts(request, n=2, seed=SEED) != [first, second]:
        came = "choice i of a seed is not the draw of seed + i: one draw a request"
        return Observation("limited", came, {"takes_n": False})
    crowd = await asyncio.gather(*(alone(SEED + i) for i in range(8)))
    if crowd[:2] != [first, second]:
        return Observation("limited", "a draw depends on what it is batched with")
    if len(set(crowd)) == 1:
        return Observation("untried", f"draws of {len(crowd)} seeds are one text: {quoted(first)}")
    return Observation("ok", "one seed, one text: again, as a choice and in a crowd")


async def likeliest(probe: Probe) -> Observation:
    """Ask for the likeliest tokens."""
    none = {"logprobs": False}
    try:
        reply = await probe.draw(_begun(probe, top=5))
    except Rejected as refusal:
        return Observation("limited", f"refused ({str(refusal)[:80]})", none)
    found = reply.choices[0].logprobs
    if found is None or not found.top_logprobs:
        return Observation("limited", "none came", none)
    return Observation("ok", f"{len(found.top_logprobs[0] or {})} a token")


async def usage(probe: Probe) -> Observation:
    """Compare the count of two choices with that of each alone."""
    request = _begun(probe, FREE)
    singles = [await probe.once(request, seed=SEED + i) for i in range(2)]
    counts = [reply.usage.completion_tokens for reply in singles if reply.usage]
    if len(counts) < 2:
        return Observation(
            "limited", "replies count no tokens: costs are counted here, where they can be"
        )
    if not probe.endpoint.profile.takes_n:
        return Observation("ok", f"{counts[0]} tokens counted")
    both = await probe.once(request, n=2, seed=SEED)
    counted, wanted = both.usage.completion_tokens if both.usage else 0, sum(counts)
    if counted < 0.75 * wanted:
        return Observation(
            "limited", f"{counted} tokens for two choices of {wanted}: counted here instead"
        )
    return Observation("ok", f"{counted} tokens for two choices")


async def tokens(probe: Probe) -> Observation:
    """Ask where tokens end: shares of a thought are measured in them."""
    if probe.tokenizer is not None:
        return Observation("ok", "known here: the tokenizer is at hand")
    ends = await probe.endpoint.ends(BEGIN)
    if ends is None:
        return Observation(
            "limited", "not told, and no tokenizer here: shares are cut by characters"
        )
    return Observation("ok", f"the server tells: {len(ends)} in {quoted(BEGIN)}")


async def billed(probe: Probe) -> Observation:
    """Compare the thinking that is billed with the thinking that comes back."""
    dialect = probe.dialect
    if not isinstance(dialect, ChatDialect) or not dialect.think_close:
        return Observation("ok", "all of it, as raw text", {"thinking_returned": "raw"})
    reply = await probe.draw(probe.request(tokens=LONGEST, sampling=GREEDY))
    if reply.usage is None:
        return Observation("untried", "replies count no tokens")
    thought, _, answer = reply.choices[0].text.partition(dialect.think_close)
    tokens = await _billed(probe, reply.usage, answer)
    returned = await probe.size(thought)
    what = "raw" if returned >= HIDDEN * tokens else "summary" if returned else "none"
    learned = {"thinking_returned": what}
    came = f"{tokens} tokens of thinking are billed, about {returned} come back"
    if what == "raw":
        return Observation("ok", came, learned)
    came += ": a summary" if what == "summary" else ": none of it"
    expected = what == "none" and not dialect.continues
    verdict: ProbeVerdict = "ok" if expected else "broken" if dialect.continues else "limited"
    return Observation(verdict, came, learned)


async def _billed(probe: Probe, usage: Usage, answer: str) -> int:
    """Return how many tokens of thinking are billed."""
    details = usage.completion_tokens_details
    if details is not None and details.reasoning_tokens is not None:
        return details.reasoning_tokens
    return max(usage.completion_tokens - await probe.size(answer), 0)
