"""Probes of draws: stop strings, sampling, seeds and token counts."""

from __future__ import annotations

import asyncio

from collab.core.sampling import Request, Sampling
from collab.endpoints.chat import ChatDialect
from collab.endpoints.doctor.probe import FREE, GREEDY, LONGEST, Observation, Probe, quoted
from collab.endpoints.doctor.reading import BEGIN
from collab.endpoints.profile import ProbeVerdict
from collab.endpoints.reply import Completion, Usage
from collab.errors import Rejected

SEED = 7
NOTHING = "the server returned no text to compare"
HIDDEN = 0.6
"""Smallest share of the billed thinking that counts as the whole thinking."""


def _thought_request(
    probe: Probe, sampling: Sampling = GREEDY, stop: tuple[str, ...] = (), top: int | None = None
) -> Request:
    """Ask to continue a thought or, if the dialect cannot, to think and answer."""
    if probe.dialect.continues:
        return probe.request(BEGIN, sampling=sampling, stop=stop, logprobs=top)
    return probe.request(tokens=LONGEST, sampling=sampling, stop=stop, logprobs=top)


async def stop(probe: Probe) -> Observation:
    """Check that a draw stops at a string it contains, and that the string is kept."""
    (whole,) = await probe.texts(_thought_request(probe))
    at = _stretch(whole, probe.tags[1])
    if at is None:
        return Observation("untried", f"the text is too short to stop in: {quoted(whole)}")
    wanted = whole[at : at + 4]
    choice = (await probe.draw(_thought_request(probe, stop=(wanted,)))).choices[0]
    if choice.text == whole[: at + 4] or choice.written.endswith(wanted):
        return Observation("ok", "stopped; the stop string is kept")
    none = {"max_stops": 0}
    if not choice.text and not probe.dialect.continues:
        came = "stopped in hidden thinking: units are cut by collab"
        return Observation("limited", came, none)
    if choice.text != whole[:at]:
        return Observation(
            "limited", f"not stopped: {quoted(choice.written)}; units are cut by collab", none
        )
    if choice.token_ids is not None:
        return Observation(
            "limited", "stopped; the stop string is missing from the text, but in the ids"
        )
    if choice.stop_reason == wanted:
        return Observation(
            "limited", "stopped; the stop string is cut off, and restored from stop_reason"
        )
    came = "stopped; the stop string is cut off and not reported: units are cut by collab"
    return Observation("limited", came, none)


def _stretch(text: str, close: str) -> int | None:
    """Find four characters that occur once, after the first third of the thought or answer."""
    thought, _, answer = text.partition(close) if close else (text, "", "")
    first, last = (0, len(thought)) if thought.strip() else (len(text) - len(answer), len(text))
    places = range(first + (last - first) // 3, last - 4)
    return next((at for at in places if text.find(text[at : at + 4]) == at), None)


async def temperature(probe: Probe) -> Observation:
    """Check that greedy draws with several seeds give the same text."""
    request = _thought_request(probe)
    texts = {text for seed in range(3) for text in await probe.texts(request, seed=seed)}
    if not any(texts):
        return Observation("untried", NOTHING)
    if len(texts) == 1:
        return Observation("ok", "three greedy draws gave the same text")
    came = f"three greedy draws gave {len(texts)} texts: the server ignores temperature 0"
    return Observation("limited", came, {"takes_temperature": False})


async def choices(probe: Probe) -> Observation:
    """Ask for two draws in one request."""
    one = {"takes_n": False}
    try:
        reply = await probe.once(_thought_request(probe, FREE), n=2, seed=SEED)
    except Rejected as refusal:
        came = f"refused: one draw per request is used ({str(refusal)[:80]})"
        return Observation("limited", came, one)
    if len(reply.choices) != 2:
        came = f"{len(reply.choices)} returned: one draw per request is used"
        return Observation("limited", came, one)
    return Observation("ok", "two returned")


async def seeds(probe: Probe) -> Observation:
    """Compare draws with the same seed: repeated, as a second choice, and in a batch."""
    request = _thought_request(probe, FREE)

    async def alone(seed: int) -> str:
        return await probe.text(request, seed=seed)

    (first,), (second,) = [await probe.texts(request, seed=SEED + i) for i in range(2)]
    if first != await alone(SEED):
        return Observation(
            "limited", "the same seed gave two texts: a rerun differs", {"takes_seed": False}
        )
    joint = probe.endpoint.profile.takes_n
    if joint and await probe.texts(request, n=2, seed=SEED) != [first, second]:
        came = "choice i differs from the draw with seed + i: one draw per request is used"
        return Observation("limited", came, {"takes_n": False})
    crowd = await asyncio.gather(*(alone(SEED + i) for i in range(8)))
    if crowd[:2] != [first, second]:
        return Observation("limited", "a draw depends on the other requests in its batch")
    if len(set(crowd)) == 1:
        came = f"{len(crowd)} seeds gave the same text: {quoted(first)}"
        return Observation("untried", came)
    return Observation("ok", "one seed, one text: repeated, as a choice and in a batch")


async def likeliest(probe: Probe) -> Observation:
    """Ask for the likeliest tokens."""
    none = {"logprobs": False}
    try:
        reply = await probe.draw(_thought_request(probe, top=5))
    except Rejected as refusal:
        return Observation("limited", f"refused ({str(refusal)[:80]})", none)
    found = reply.choices[0].logprobs
    if found is None or not found.top_logprobs:
        return Observation("limited", "none returned", none)
    return Observation("ok", f"{len(found.top_logprobs[0] or {})} per token")


async def usage(probe: Probe) -> Observation:
    """Compare the token count of two choices with the counts of single draws."""
    request = _thought_request(probe, FREE)
    singles = [await probe.once(request, seed=SEED + i) for i in range(2)]
    counts = [count for reply in singles if (count := _completion_tokens(reply)) is not None]
    if len(counts) < 2:
        return Observation("limited", "replies have no token counts: collab counts where it can")
    if not probe.endpoint.profile.takes_n:
        return Observation("ok", f"{counts[0]} tokens counted")
    both = await probe.once(request, n=2, seed=SEED)
    counted, wanted = _completion_tokens(both) or 0, sum(counts)
    if counted < 0.75 * wanted:
        return Observation(
            "limited", f"{counted} tokens for two choices of {wanted}: collab counts instead"
        )
    return Observation("ok", f"{counted} tokens for two choices")


def _completion_tokens(reply: Completion) -> int | None:
    return reply.usage.completion_tokens if reply.usage else None


async def tokens(probe: Probe) -> Observation:
    """Ask for the ends of tokens: shares of a thought are measured in tokens."""
    if probe.tokenizer is not None:
        return Observation("ok", "known: the tokenizer is available")
    ends = await probe.endpoint.ends(BEGIN)
    if ends is None:
        return Observation(
            "limited", "unknown, without a tokenizer: shares are measured in characters"
        )
    return Observation("ok", f"returned by the server: {len(ends)} in {quoted(BEGIN)}")


async def billed(probe: Probe) -> Observation:
    """Compare the thinking that is billed with the thinking that is returned."""
    dialect = probe.dialect
    if not isinstance(dialect, ChatDialect) or not dialect.think_close:
        return Observation("ok", "returned in full", {"thinking_returned": "raw"})
    reply = await probe.draw(probe.request(tokens=LONGEST, sampling=GREEDY))
    if reply.usage is None:
        return Observation("untried", "replies have no token counts")
    thought, _, answer = reply.choices[0].written.partition(dialect.think_close)
    tokens = await _billed(probe, reply.usage, answer)
    returned = await probe.size(thought)
    what = "raw" if returned >= HIDDEN * tokens else "summary" if returned else "none"
    learned = {"thinking_returned": what}
    came = f"{tokens} tokens of thinking billed, about {returned} returned"
    if what == "raw":
        return Observation("ok", came, learned)
    came += ": a summary" if what == "summary" else ": the thinking is hidden"
    expected = what == "none" and not dialect.continues
    verdict: ProbeVerdict = "ok" if expected else "broken" if dialect.continues else "limited"
    return Observation(verdict, came, learned)


async def _billed(probe: Probe, usage: Usage, answer: str) -> int:
    """Return the number of billed thinking tokens."""
    details = usage.completion_tokens_details
    if details is not None and details.reasoning_tokens is not None:
        return details.reasoning_tokens
    return max((usage.completion_tokens or 0) - await probe.size(answer), 0)
