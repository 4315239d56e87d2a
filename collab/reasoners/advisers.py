"""Side questions to a model: the prompt, and how the reply is read.

If the replies are limited to some options, the reply is read from the log-probabilities of a single
token, which costs one token. If the endpoint returns none, it is read from the model's text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.sampling import Drawn, Prompt
from collab.core.trajectory import Message, Phase, Trajectory
from collab.episode.reasoner import Likelihoods, Reply, Turn
from collab.errors import PolicyError

if TYPE_CHECKING:
    from collab.reasoners.stored_model import StoredModel

TOP = 20
"""Likeliest tokens in which options are looked for: the most that servers return."""
PLACES = 4
"""Tokens of a reply in which options are looked for."""
WORDS = 64
"""Tokens in which a reply must name an option if there are no log-probabilities."""
MARKS = " \n\t*\"'`:(["
"""Characters that may precede an option."""


async def advise(model: StoredModel, turn: Turn, inquiry: Inquiry) -> Reply:
    """Answer a side question by one token if that names an option, else by a text."""
    prompt = side_prompt(model, turn, inquiry)
    drawn: list[Drawn] = []
    if inquiry.options and model.endpoint.profile.logprobs:
        chances = await _chances(model, turn, prompt, inquiry, drawn)
        if chances:
            return Reply(
                SideAnswer(max(chances, key=lambda one: chances[one]), chances), tuple(drawn)
            )
    room, _ = model.room(turn, prompt)
    request = model.request(prompt, max(min(room, WORDS) if inquiry.options else room, 1))
    drawn += await model.draw(request, [turn.number(request)])
    text, _ = model.clean(drawn[-1])
    return Reply(SideAnswer(text, named_option(text, inquiry.options)), tuple(drawn))


async def score(model: StoredModel, turn: Turn, text: str) -> Likelihoods:
    """Score a text after the trajectory, in a request that draws one token."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode(text) if tokenizer else ()
    prompt = model.dialect.prompt(
        turn.question.messages, turn.trajectory, turn.phase, turn.seat
    ).prompt
    if not ids or not isinstance(prompt, tuple) or "score" not in model.can:
        no_tokens = bool(tokenizer) and not ids
        reason = "the text has no tokens" if no_tokens else "its endpoint scores no prompts"
        raise PolicyError(f"seat {turn.seat!r} cannot score {text!r}: {reason}")
    request = model.request(prompt + ids, 1, scored=len(ids), greedy=True)
    (drawn,) = await model.draw(request, [turn.number(request)])
    logprobs = drawn.generation.logprobs
    total = math.fsum(logprobs.scored if logprobs else ())
    return Likelihoods(Likelihood(total, len(ids)), (drawn,))


def side_prompt(model: StoredModel, turn: Turn, inquiry: Inquiry) -> Prompt:
    """Return a prompt of the question, the thinking so far, the side question and the lead.

    The first three share one user turn, as many templates refuse two user turns in a row.
    """
    units = turn.trajectory.units
    thinking = "".join(
        unit.text for unit in units if unit.kind != "signal" or unit.author == turn.seat
    )
    parts = [f"Thinking so far:\n{thinking}"] if thinking else []
    *before, last = turn.question.messages
    if last.role == "user":
        parts = [last.content, *parts]
    else:
        before.append(last)
    messages = (*before, Message("user", "\n\n".join([*parts, inquiry.text])))
    phase: Phase = "answer" if model.think_close else "thinking"
    prompt = model.dialect.prompt(messages, Trajectory(), phase, turn.seat).prompt
    if not inquiry.lead:
        return prompt
    if isinstance(prompt, tuple):
        return prompt + (model.tokenizer.encode(inquiry.lead) if model.tokenizer else ())
    return prompt + inquiry.lead


async def _chances(
    model: StoredModel, turn: Turn, prompt: Prompt, inquiry: Inquiry, drawn: list[Drawn]
) -> Mapping[str, float]:
    """Look for the options among the likeliest tokens at each position, skipping marks."""
    for _ in range(PLACES):
        request = model.request(prompt, 1, logprobs=TOP, greedy=True)
        (one,) = await model.draw(request, [turn.number(request)])
        drawn.append(one)
        logprobs = one.generation.logprobs
        if logprobs is None or not logprobs.tops:
            return {}
        if chances := option_chances(logprobs.tops[0], inquiry.options):
            return chances
        text, ids = model.clean(one)
        if text.strip(MARKS):
            return {}
        prompt = prompt + (ids or ()) if isinstance(prompt, tuple) else prompt + text
    return {}


def option_chances(
    likeliest: Sequence[tuple[str, float]], options: Sequence[str]
) -> dict[str, float]:
    """Return the probability of each option, from the likeliest tokens that begin or name one."""
    found = dict.fromkeys(options, 0.0)
    for token, logprob in likeliest:
        word = token.strip(MARKS).casefold()
        matching = [one for one in options if word and _matches(one.strip().casefold(), word)]
        if len(matching) == 1:
            found[matching[0]] += math.exp(logprob)
    total = sum(found.values())
    return {one: share / total for one, share in found.items()} if total else {}


def _matches(option: str, word: str) -> bool:
    """Check whether a token's text begins an option, or names it and ends."""
    return option.startswith(word) or (word.startswith(option) and not word[len(option)].isalnum())


def named_option(text: str, options: Sequence[str]) -> dict[str, float]:
    """Return the option that a text names first, as a separate word, with probability 1."""
    places = {
        one: found.start()
        for one in options
        if (found := re.search(rf"(?<!\w){re.escape(one.strip())}(?!\w)", text, re.IGNORECASE))
    }
    return {min(places, key=lambda one: places[one]): 1.0} if places else {}
