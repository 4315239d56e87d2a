"""Probes of the prompt: whether the server reads exactly the text it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from collab.core.sampling import Request
from collab.core.trajectory import Message
from collab.endpoints.doctor.probe import (
    LONGEST,
    SOME,
    Observation,
    Probe,
    prompt_tokens,
    quoted,
    read_ids,
)
from collab.endpoints.tokens import Tokenizer
from collab.endpoints.vendors import ContinueAfterOpening, ContinueFinal, NoPrefix

WORD = " so"
SHORT, LONG = 10, 200
"""Number of words in the two thoughts of the growth probe."""
SECRET = "PLATYPUS"
CARRY = f"The secret word is {SECRET}. I repeat: the secret word is"
THOUGHT = "3 plus 4 is 7."
BEGIN = "Let me count:"
ENOUGH = 8
"""Characters that are unlikely to recur by chance."""
UNCOUNTED = "the reply has no count of prompt tokens"


class _BareQuestion(NoPrefix):
    """A conversation without a prefix, in fields that every server accepts."""

    limit = "max_tokens"


def words(number: int) -> str:
    """Return a thought of `number` equal words, so that each costs the same number of tokens."""
    return WORD * number


async def growth(probe: Probe) -> Observation:
    """Send a short and a long thought, and check that the prompt grows by the difference.

    The expected difference comes from the tokenizer or, without one, from two questions of the
    same lengths.
    """
    got = await _difference(probe, *(probe.request(words(n), tokens=1) for n in (SHORT, LONG)))
    if probe.tokenizer is not None:
        wanted: int | None = probe.count(words(LONG)) - probe.count(words(SHORT))
    else:
        asked = [(Message("user", words(n)),) for n in (SHORT, LONG)]
        wanted = await _difference(probe, *(probe.request(question=q, tokens=1) for q in asked))
    if got is None or wanted is None:
        return Observation("broken", UNCOUNTED)
    if abs(got - wanted) <= 1:
        return Observation("ok", f"{got} tokens more")
    why = "dropped" if got < wanted // 2 else "rewritten"
    return Observation("broken", f"{got} tokens more instead of {wanted}: the thought is {why}")


async def _difference(probe: Probe, short: Request, long: Request) -> int | None:
    """Return how many more tokens the server reads for the longer request."""
    less, more = [prompt_tokens(await probe.draw(request)) for request in (short, long)]
    return None if less is None or more is None else more - less


async def start(probe: Probe) -> Observation:
    """Compare the prompt that the server read with the prompt that was sent."""
    request = probe.request(THOUGHT, tokens=1)
    if not probe.knows(request):
        first = (read_ids(await probe.draw(request)) or ())[:2]
        if len(first) == 2 and first[0] == first[1]:
            return Observation(
                "broken", f"the prompt was read with token {first[0]} twice at its start"
            )
        return Observation("untried", "the prompt's tokens are unknown: set a checkpoint")
    ids, tokenizer = request.prompt, probe.tokenizer
    if isinstance(ids, tuple) and tokenizer and _doubled(ids[:2], tokenizer):
        return Observation("broken", f"the template starts with {tokenizer.decode(ids[:2])!r}")
    how = probe.proof(request, await probe.draw(request))
    return Observation("ok", f"read as sent, checked {how}")


async def carry_over(probe: Probe) -> Observation:
    """Cut a thought before a word it repeats, and check that the reply starts with that word."""
    request = probe.request(CARRY, tokens=12)
    reply = await probe.draw(request)
    (choice,) = reply.choices
    text = probe.written(choice).strip()
    if _repeats(text):
        return Observation("broken", f"{quoted(text)}: it repeats the prefix")
    if _repeats(choice.written):
        return Observation(
            "limited", "the text repeats the prefix, the ids do not: the ids are used"
        )
    if text.upper().startswith(SECRET):
        return Observation("ok", quoted(text))
    how = probe.proof(request, reply)
    if how is not None:
        came = f"{quoted(text)}: another word, but the thought was read, checked {how}"
        return Observation("ok", came)
    if await _continues_half(probe):
        came = f"{quoted(text)}: another word, but it continues half of its own text"
        return Observation("ok", came)
    return Observation("broken", f"{quoted(text)}: it does not continue the thought")


async def _continues_half(probe: Probe) -> bool:
    """Draw a greedy text, send its first half, and return whether the second half comes back."""
    whole = await probe.text(probe.request(BEGIN))
    at = whole.find(" ", len(whole) // 3)  # a token ends there
    at = at if at > 0 else len(whole) // 2
    rest = await probe.text(probe.request(BEGIN + whole[:at]))
    size = min(len(rest), len(whole) - at)
    return size >= ENOUGH and rest[:size] == whole[at : at + size]


def _repeats(text: str) -> bool:
    return CARRY[:20] in text[: len(CARRY)]


async def closing(probe: Probe) -> Observation:
    """Send a closed thought, and check that the reply is an answer without think tags.

    A dialect that cannot continue a thought shows it in the question; the model then thinks again.
    """
    tokens = SOME if probe.dialect.continues else LONGEST
    request = probe.request(THOUGHT, said="", tokens=tokens)
    reply = await probe.draw(request)
    text = probe.written(reply.choices[0])
    if not text.strip():
        ended = reply.choices[0].finish_reason != "length"
        came = "no answer" if ended else f"no answer: all {tokens} tokens went into thinking"
        return Observation("broken" if ended else "untried", came)
    tag = next((tag for tag in map(str.strip, probe.tags) if tag and tag in text), None)
    how = probe.proof(request, reply)
    if tag is None:
        return Observation("ok", quoted(text))
    if how is not None:
        return Observation(
            "ok", f"{quoted(text)}: the model's own {tag}; the close was read, checked {how}"
        )
    return Observation("broken", f"{quoted(text)}: {tag} is in the answer")


async def tags(probe: Probe) -> Observation:
    """Look for a second open tag or an empty think block between question and thought."""
    request = probe.request(words(LONG), tokens=1)
    reply = await probe.draw(request)
    if probe.proof(request, reply) is not None:
        return Observation("ok", "one open tag, as sent")
    shorter = [probe.request(words(number), tokens=1) for number in (0, SHORT)]
    none, short = [prompt_tokens(await probe.draw(request)) for request in shorter]
    long = prompt_tokens(reply)
    if none is None or short is None or long is None:
        return Observation("untried", UNCOUNTED)
    between = round(short - SHORT * (long - short) / (LONG - SHORT)) - none
    if isinstance(probe.dialect, ContinueFinal | ContinueAfterOpening):
        between += await _besides_the_tag(probe, none)
    if between > 3:
        return Observation(
            "broken", f"{between} tokens: an empty block, or a turn closed and opened again"
        )
    if between < -1:
        came = "the think block is not opened: set a checkpoint to see whether the template does"
        return Observation("broken", came)
    if between > 0:
        return Observation("limited", f"{between} tokens more than without a prefix")
    return Observation("ok", "no extra tokens")


async def _besides_the_tag(probe: Probe, tokens_with: int) -> int:
    """Count the tokens, other than the open tag, that an empty prefix adds to the prompt.

    The template writes the tag, unless the model writes it itself when it is sent no prefix.
    """
    bare = probe.within(_BareQuestion(None, "", ""))
    reply = await bare.draw(bare.request())
    tag = probe.tags[0].strip()
    its_own = bool(tag) and bare.written(reply.choices[0]).lstrip().startswith(tag)
    opening = await bare.size(probe.tags[0]) if its_own else 0
    return tokens_with - (prompt_tokens(reply) or tokens_with) - opening


def _doubled(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    return len(ids) == 2 and ids[0] == ids[1] and ids[0] in tokenizer.end_ids
