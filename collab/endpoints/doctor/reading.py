"""Does the server read what it is sent? Probes of the prompt."""

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
"""How often the two thoughts of the growth probe say it."""
SECRET = "PLATYPUS"
CARRY = f"The secret word is {SECRET}. I repeat: the secret word is"
THOUGHT = "3 plus 4 is 7."
BEGIN = "Let me count:"
ENOUGH = 8
"""Characters that are no chance when they come again."""
UNCOUNTED = "the reply does not count the prompt"


class _Unbegun(NoPrefix):
    """A conversation in which nobody begins a turn, in fields that every server takes."""

    limit = "max_tokens"


def words(number: int) -> str:
    """Return a thought of so many words, each with its space, so that all cost the same."""
    return WORD * number


async def growth(probe: Probe) -> Observation:
    """Send a short thought and a long one: the prompt must be longer by the difference.

    What the difference is says the tokenizer or, where it is not at hand, the same difference of
    two questions.
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
    return Observation("broken", f"{got} tokens more, not {wanted}: the thought is {why}")


async def _difference(probe: Probe, short: Request, long: Request) -> int | None:
    """Return how many tokens more a server reads of the longer one."""
    less, more = [prompt_tokens(await probe.draw(request)) for request in (short, long)]
    return None if less is None or more is None else more - less


async def start(probe: Probe) -> Observation:
    """Compare what was read with what was sent, from the first token on."""
    request = probe.request(THOUGHT, tokens=1)
    if not probe.knows(request):
        first = (read_ids(await probe.draw(request)) or ())[:2]
        if len(first) == 2 and first[0] == first[1]:
            return Observation(
                "broken", f"the prompt was read with token {first[0]} twice at its begin"
            )
        return Observation("untried", "its tokens are not known here: a checkpoint would tell")
    ids, tokenizer = request.prompt, probe.tokenizer
    if isinstance(ids, tuple) and tokenizer and _doubled(ids[:2], tokenizer):
        return Observation("broken", f"the template begins with {tokenizer.decode(ids[:2])!r}")
    how = probe.proof(request, await probe.draw(request))
    return Observation("ok", f"read as sent, {how}")


async def carry_over(probe: Probe) -> Observation:
    """Let a thought end before a word that it holds: the reply must begin with that word."""
    request = probe.request(CARRY, tokens=12)
    reply = await probe.draw(request)
    (choice,) = reply.choices
    text = probe.written(choice).strip()
    if _repeats(text):
        return Observation("broken", f"{quoted(text)}: it repeats what was sent")
    if _repeats(choice.text):
        return Observation(
            "limited", "the text repeats what was sent, the ids do not: they are read"
        )
    if text.upper().startswith(SECRET):
        return Observation("ok", quoted(text))
    how = probe.proof(request, reply)
    if how is not None:
        return Observation("ok", f"{quoted(text)}: another word, but the thought was read, {how}")
    if await _goes_on(probe):
        return Observation(
            "ok", f"{quoted(text)}: another word, but a text that is cut in two goes on"
        )
    return Observation("broken", f"{quoted(text)}: it does not go on where the thought ends")


async def _goes_on(probe: Probe) -> bool:
    """Let the model write greedily, then go on with half of that: the other half must come."""
    whole = await probe.text(probe.request(BEGIN))
    at = whole.find(" ", len(whole) // 3)  # a token ends there
    at = at if at > 0 else len(whole) // 2
    rest = await probe.text(probe.request(BEGIN + whole[:at]))
    size = min(len(rest), len(whole) - at)
    return size >= ENOUGH and rest[:size] == whole[at : at + size]


def _repeats(text: str) -> bool:
    return CARRY[:20] in text[: len(CARRY)]


async def closing(probe: Probe) -> Observation:
    """Close a thought: what comes must be the answer, in its field and without tags.

    Who continues none is shown it, and thinks anew before the answer.
    """
    tokens = SOME if probe.dialect.continues else LONGEST
    request = probe.request(THOUGHT, said="", tokens=tokens)
    reply = await probe.draw(request)
    text = probe.written(reply.choices[0])
    if not text.strip():
        ended = reply.choices[0].finish_reason != "length"
        came = "no answer came" if ended else f"{tokens} tokens went into thinking: no answer came"
        return Observation("broken" if ended else "untried", came)
    tag = next((tag for tag in map(str.strip, probe.tags) if tag and tag in text), None)
    how = probe.proof(request, reply)
    if tag is None:
        return Observation("ok", quoted(text))
    if how is not None:
        return Observation(
            "ok", f"{quoted(text)}: the model's own {tag}, as the close was read, {how}"
        )
    return Observation("broken", f"{quoted(text)}: {tag} in the answer")


async def tags(probe: Probe) -> Observation:
    """Look for a second open tag or an empty block between question and thought."""
    request = probe.request(words(LONG), tokens=1)
    reply = await probe.draw(request)
    if probe.proof(request, reply) is not None:
        return Observation("ok", "one open tag, as laid out here")
    shorter = [probe.request(words(number), tokens=1) for number in (0, SHORT)]
    none, short = [prompt_tokens(await probe.draw(request)) for request in shorter]
    long = prompt_tokens(reply)
    if none is None or short is None or long is None:
        return Observation("untried", UNCOUNTED)
    between = round(short - SHORT * (long - short) / (LONG - SHORT)) - none
    if isinstance(probe.dialect, ContinueFinal | ContinueAfterOpening):
        between += await _beside_the_tag(probe, none)
    if between > 3:
        return Observation(
            "broken", f"{between} tokens: an empty block, or a turn closed and opened again"
        )
    if between < -1:
        came = "nobody opens the block: a checkpoint would tell whether the template does"
        return Observation("broken", came)
    if between > 0:
        return Observation("limited", f"{between} tokens more than before a question's own thought")
    return Observation("ok", "nothing stands between")


async def _beside_the_tag(probe: Probe, begun: int) -> int:
    """Count what a begun turn has in front besides the open tag, were it begun with no thought.

    The tag is the template's, unless a model that nobody begins for writes it by itself.
    """
    bare = probe.within(_Unbegun(None, "", ""))
    reply = await bare.draw(bare.request())
    tag = probe.tags[0].strip()
    its_own = bool(tag) and bare.written(reply.choices[0]).lstrip().startswith(tag)
    opening = await bare.size(probe.tags[0]) if its_own else 0
    return begun - (prompt_tokens(reply) or begun) - opening


def _doubled(ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    return len(ids) == 2 and ids[0] == ids[1] and ids[0] in tokenizer.end_ids
