"""Side questions to a model: what it is sent, and how its reply is read.

A reply that may only be one of several is read off the log-probabilities of a single token, which
costs no more than that token; where an endpoint gives none, off what the model says.
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
"""The likeliest tokens that are looked at for an option: what servers give at most."""
PLACES = 4
"""Tokens that are looked at before a reply is taken to name no option."""
WORDS = 64
"""Tokens in which a model that is not read by its log-probabilities must name an option."""
MARKS = " \n\t*\"'`:(["
"""What may stand before an option."""


async def advise(model: StoredModel, turn: Turn, inquiry: Inquiry) -> Reply:
    """Ask a side question: one token where that tells, else whatever the model has to say."""
    prompt = side_prompt(model, turn, inquiry)
    drawn: list[Drawn] = []
    if inquiry.options and model.endpoint.profile.logprobs:
        chances = await _read(model, turn, prompt, inquiry, drawn)
        if chances:
            return Reply(
                SideAnswer(max(chances, key=lambda one: chances[one]), chances), tuple(drawn)
            )
    room, _ = model.room(turn, prompt)
    request = model.request(prompt, max(min(room, WORDS) if inquiry.options else room, 1))
    drawn += await model.draw(request, [turn.number(request)])
    text, _ = model.clean(drawn[-1])
    return Reply(SideAnswer(text, named(text, inquiry.options)), tuple(drawn))


async def score(model: StoredModel, turn: Turn, text: str) -> Likelihoods:
    """Score a text behind the trajectory, with the one token that a request must draw."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode(text) if tokenizer else ()
    prompt = model.dialect.prompt(
        turn.question.messages, turn.trajectory, turn.phase, turn.seat
    ).prompt
    if not ids or not isinstance(prompt, tuple) or "score" not in model.can:
        reason = "the text has no tokens" if tokenizer and not ids else "its endpoint scores none"
        raise PolicyError(f"seat {turn.seat!r} cannot say how likely {text!r} is: {reason}")
    request = model.request(prompt + ids, 1, scored=len(ids), greedy=True)
    (drawn,) = await model.draw(request, [turn.number(request)])
    said = drawn.generation.logprobs
    return Likelihoods(Likelihood(math.fsum(said.scored if said else ()), len(ids)), (drawn,))


def side_prompt(model: StoredModel, turn: Turn, inquiry: Inquiry) -> Prompt:
    """Put the thinking so far and the side question behind the question, and begin the reply.

    They stand in one user turn with it: many templates refuse two in a row.
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


async def _read(
    model: StoredModel, turn: Turn, prompt: Prompt, inquiry: Inquiry, drawn: list[Drawn]
) -> Mapping[str, float]:
    """Look for the options among the likeliest tokens, place by place, past mere marks."""
    for _ in range(PLACES):
        request = model.request(prompt, 1, logprobs=TOP, greedy=True)
        (one,) = await model.draw(request, [turn.number(request)])
        drawn.append(one)
        said = one.generation.logprobs
        if said is None or not said.tops:
            return {}
        if chances := weighed(said.tops[0], inquiry.options):
            return chances
        text, ids = model.clean(one)
        if text.strip(MARKS):
            return {}
        prompt = prompt + (ids or ()) if isinstance(prompt, tuple) else prompt + text
    return {}


def weighed(top: Sequence[tuple[str, float]], options: Sequence[str]) -> dict[str, float]:
    """Return the share of each option among the likeliest tokens that begin or name one."""
    found = dict.fromkeys(options, 0.0)
    for token, logprob in top:
        said = token.strip(MARKS).casefold()
        meant = [one for one in options if said and _begins(one.strip().casefold(), said)]
        if len(meant) == 1:
            found[meant[0]] += math.exp(logprob)
    total = sum(found.values())
    return {one: share / total for one, share in found.items()} if total else {}


def _begins(option: str, said: str) -> bool:
    return option.startswith(said) or (said.startswith(option) and not said[len(option)].isalnum())


def named(text: str, options: Sequence[str]) -> dict[str, float]:
    """Return the option that a text names first, as a word of its own."""
    places = {
        one: found.start()
        for one in options
        if (found := re.search(rf"(?<!\w){re.escape(one.strip())}(?!\w)", text, re.IGNORECASE))
    }
    return {min(places, key=lambda one: places[one]): 1.0} if places else {}
