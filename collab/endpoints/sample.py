"""From a server's reply to a `Generation`: the checks that a draw must pass to count.

Where token ids went in, the server must say which ids it read and which it wrote; a prompt that is
not the one that was sent is an error, never a note.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from collab.endpoints.limits import Again
from collab.endpoints.reply import Choice, Completion, Logprobs, Usage
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, PromptChanged, Unreachable
from collab.sampling import Finish, Generation, OpenTurn, Request

FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "abort"}
BROKEN = ("abort", "cancelled", "error")
"""What a server says where it gave up half-way: that is no sample of the model."""


def generations(
    reply: Completion, request: Request, tokenizer: Tokenizer | None, seconds: float
) -> list[Generation]:
    """Check a whole reply and return its choices in order.

    Raises:
        Again: The server gave up half-way.
        BadReply: Ids are missing, or the server read another prompt than was sent.
    """
    choices = sorted(reply.choices, key=lambda choice: choice.index)
    echoes = {choice.prompt_token_ids for choice in choices} | {reply.prompt_token_ids}
    for echo in echoes - {None} or {None}:
        check_prompt(request, echo, reply.usage, tokenizer)
    return [_generation(choice, reply, request, tokenizer, seconds) for choice in choices]


def check_prompt(
    request: Request,
    read_ids: tuple[int, ...] | None,
    usage: Usage | None,
    tokenizer: Tokenizer | None,
) -> None:
    """Compare the ids the server says it read with the ids we sent, or those of the text we sent.

    Raises:
        PromptChanged: They differ, or the server gave neither ids nor a count.
    """
    sent = _sent(request, tokenizer)
    if sent is None or read_ids == sent:
        return
    if read_ids is not None:
        pairs = enumerate(zip_longest(sent, read_ids))
        at, (ours, theirs) = next((at, pair) for at, pair in pairs if pair[0] != pair[1])
        raise PromptChanged(
            f"the endpoint changed the prompt: token {at} was sent as {ours}, read as {theirs} "
            f"({len(sent)} sent, {len(read_ids)} read)"
        )
    if usage is None or usage.prompt_tokens != len(sent):
        counted = usage.prompt_tokens if usage else "none"
        raise PromptChanged(
            f"the endpoint changed the prompt: {len(sent)} tokens were sent, it counts {counted} "
            "(a second start token, a template around it, or another tokenizer)"
        )


def _sent(request: Request, tokenizer: Tokenizer | None) -> tuple[int, ...] | None:
    """Return the ids of the prompt, None where its text or its tokenizer is not known."""
    prompt = request.prompt
    if isinstance(prompt, tuple):
        return prompt
    text = prompt.rendered if isinstance(prompt, OpenTurn) else prompt
    return tokenizer.encode(text) if tokenizer and text is not None else None


def _generation(
    choice: Choice,
    reply: Completion,
    request: Request,
    tokenizer: Tokenizer | None,
    seconds: float,
) -> Generation:
    ids = choice.token_ids
    if ids is None and isinstance(request.prompt, tuple):
        raise BadReply(
            "the endpoint returned no token ids, which the dialect 'ids' needs (return_token_ids); "
            "set the model's dialect to 'text'"
        )
    usage = reply.usage or Usage()
    text = tokenizer.decode(ids) if tokenizer and ids is not None else choice.text
    reason = _stop_reason(choice, text, request.stop)
    if ids is None and isinstance(reason, str) and not text.endswith(reason):
        text += reason  # this server cuts the stop string off and says which one it was
    return Generation(
        text=text,
        ids=ids,
        finish=finish(choice.finish_reason),
        stop_reason=reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=_count(ids, text, reply, tokenizer),
        cached_tokens=cached(usage),
        top20_entropy=_entropy(choice.logprobs, request.logprobs),
        seconds=seconds,
    )


def partial(
    reply: Completion, request: Request, tokenizer: Tokenizer | None, seconds: float
) -> Generation:
    """Say what had come of a draw when it was stopped: for the bill, never for a trajectory."""
    (choice,) = reply.choices
    usage, ids = reply.usage, choice.token_ids
    text = tokenizer.decode(ids) if tokenizer and ids is not None else choice.text
    sent = _sent(request, tokenizer) or ()
    return Generation(
        text=text,
        ids=ids,
        finish="cancelled",
        prompt_tokens=usage.prompt_tokens if usage else len(sent),
        completion_tokens=_count(ids, text, reply, tokenizer),
        cached_tokens=cached(usage) if usage else None,
        seconds=seconds,
    )


def _count(
    ids: tuple[int, ...] | None, text: str, reply: Completion, tokenizer: Tokenizer | None
) -> int:
    """Count a choice's tokens: its ids, else the server's count of a lone choice, else our own."""
    if ids is not None:
        return len(ids)
    if len(reply.choices) == 1 and reply.usage:
        return reply.usage.completion_tokens
    return len(tokenizer.encode(text)) if tokenizer else 0


def finish(reason: str | None) -> Finish:
    """Translate a server's reason for ending.

    Raises:
        Again: The server gave up half-way.
        BadReply: It is none that is known.
    """
    if reason in BROKEN:
        raise Again(Unreachable(f"the endpoint gave up half-way (finish_reason {reason!r})"))
    if reason not in FINISHES:
        raise BadReply(f"unknown finish_reason {reason!r} (known: {', '.join(FINISHES)})")
    return FINISHES[reason]


def cached(usage: Usage) -> int | None:
    """Return how much of the prompt came from the server's cache, where it says so."""
    return usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None


def _stop_reason(choice: Choice, text: str, stop: Sequence[str]) -> str | int | None:
    """Return what the server says, or look which stop string the text holds where it is silent."""
    if choice.finish_reason != "stop" or "stop_reason" in choice.model_fields_set:
        return choice.stop_reason
    return next((string for string in stop if string in text), None)


def _entropy(logprobs: Logprobs | None, count: int | None) -> float | None:
    if not count or logprobs is None or logprobs.top_logprobs is None:
        return None
    return mean_entropy(logprobs.top_logprobs, count)


def mean_entropy(positions: Sequence[Mapping[str, float] | None], count: int) -> float | None:
    """Average the entropy (nats) of the `count` likeliest tokens, made to sum to one, per position.

    A server adds the drawn token where it is none of the likeliest; it is left out again.
    """
    entropies = [_nats(sorted(top.values())[-count:]) for top in positions if top]
    return sum(entropies) / len(entropies) if entropies else None


def _nats(logprobs: Sequence[float]) -> float:
    weights = [math.exp(value) for value in logprobs]
    total = sum(weights)
    if not total:
        return 0.0
    return -sum(w / total * math.log(w / total) for w in weights if w)
