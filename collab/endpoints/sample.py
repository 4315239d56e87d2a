"""From a server's reply to a `Generation`: the checks that a draw must pass to count.

Where token ids went in, the server must say which ids it read and which it wrote; a prompt that is
not the one that was sent is an error, never a note.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from collab.core.sampling import FinishReason, Generation, Logprobs, OpenTurn, Request
from collab.endpoints.bound import are_ids, check_ids, check_text
from collab.endpoints.limits import Retryable
from collab.endpoints.reply import Choice, Completion, Usage
from collab.endpoints.request_format import ids_of
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, PromptChanged, Unreachable

FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "abort"}
LEAST = -9999.0
"""The log-probability of an impossible token, in JSON."""
HIGHEST = 1.0
"""No log-probability is higher, however it was rounded."""
SHORT = 8
"""Tokens up to which a draw keeps the likeliest tokens of each place."""
BROKEN = ("abort", "cancelled", "error")
"""Finish reasons of a server that gave up midway: the text is not a sample of the model."""


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
    """Compare the ids that the server reports with those that were sent, or those of the sent text.

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
            f"the endpoint changed the prompt: token {at} was sent as {ours} and read as {theirs} "
            f"({len(sent)} tokens sent, {len(read_ids)} read)"
        )
    if usage is None or usage.prompt_tokens != len(sent):
        counted = usage.prompt_tokens if usage else "none"
        raise PromptChanged(
            f"the endpoint changed the prompt: {len(sent)} tokens were sent, it counts {counted}; "
            "it may add a start token or a template, or use another tokenizer"
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
    ids, usage = choice.token_ids, reply.usage or Usage()
    if request.scored:
        return _score(choice, request, usage, seconds)
    if ids is None and isinstance(request.prompt, tuple):
        raise BadReply(
            "the endpoint returned no token ids (return_token_ids), which dialect 'ids' needs; "
            "set the model's dialect to 'text'"
        )
    if ids is not None:
        check_ids(request, ids)
    else:
        check_text(request, choice.text)
    text = tokenizer.decode(ids) if tokenizer and ids is not None else choice.text
    reason = _stop_reason(choice, text, request.stop)
    if ids is None and isinstance(reason, str) and not text.endswith(reason):
        text += reason  # this server cuts the stop string off and says which one it was
    return Generation(
        text=text,
        ids=ids,
        finish=_finish(choice, reply, request),
        stop_reason=reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=_count(ids, text, reply, tokenizer),
        cached_tokens=cached(usage),
        logprobs=_logprobs(choice, request),
        seconds=seconds,
    )


def partial(
    reply: Completion, request: Request, tokenizer: Tokenizer | None, seconds: float
) -> Generation:
    """Return the part of a stopped draw, which is billed but never enters a trajectory."""
    (choice,) = reply.choices
    usage, ids = reply.usage, choice.token_ids
    if ids is not None and not are_ids(ids):
        ids = None
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
    """Count a choice's tokens: its ids, else the server's count of a lone choice, else our own.

    Without a tokenizer, each of several choices has a share of the server's count, by its length.
    """
    if ids is not None:
        return len(ids)
    several = len(reply.choices) > 1
    if several and tokenizer:
        return len(tokenizer.encode(text))
    if reply.usage:
        share = len(text) / max(sum(len(one.text) for one in reply.choices), 1) if several else 1
        return round(reply.usage.completion_tokens * share)
    return len(tokenizer.encode(text)) if tokenizer else 0


def _finish(choice: Choice, reply: Completion, request: Request) -> FinishReason:
    """Say why a draw ended, and whether a server shortened it without a word."""
    why, count = finish(choice.finish_reason), None
    if choice.token_ids is not None:
        count = len(choice.token_ids)
    elif len(reply.choices) == 1 and reply.usage:
        count = reply.usage.completion_tokens
    short = why == "length" and count is not None and count < request.max_tokens
    return "context" if short else why


def finish(reason: str | None) -> FinishReason:
    """Translate a server's reason for ending.

    Raises:
        Again: The server gave up midway.
        BadReply: The reason is unknown.
    """
    if reason in BROKEN:
        raise Retryable(Unreachable(f"the endpoint aborted the draw (finish_reason {reason!r})"))
    if reason not in FINISHES:
        raise BadReply(f"unknown finish_reason {reason!r} (known: {', '.join(FINISHES)})")
    return FINISHES[reason]


def cached(usage: Usage) -> int | None:
    """Return the tokens of the prompt from the server's cache; None if it does not report them."""
    return usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None


def _stop_reason(choice: Choice, text: str, stop: Sequence[str]) -> str | int | None:
    """Return the reported stop string, or else the one that ends the text."""
    if choice.finish_reason != "stop" or "stop_reason" in choice.model_fields_set:
        return choice.stop_reason
    return next((string for string in stop if string in text), None)


def _logprobs(choice: Choice, request: Request) -> Logprobs | None:
    """Parse the log-probabilities of the tokens."""
    said = choice.logprobs
    if not request.logprobs or said is None or said.top_logprobs is None:
        return None
    ranked = [_ranked(top or {}, request.logprobs) for top in said.top_logprobs]
    _check_chances(said.token_logprobs or ())
    _check_chances(value for top in ranked for _, value in top)
    return Logprobs(
        drawn=tuple(_finite(value or 0.0) for value in said.token_logprobs or ()),
        entropies=tuple(round(_nats([value for _, value in top]), 6) for top in ranked),
        tops=tuple(ranked) if request.max_tokens <= SHORT else (),
    )


def _ranked(top: Mapping[str, float], count: int) -> tuple[tuple[str, float], ...]:
    """Return the `count` likeliest tokens, the likeliest first.

    A server adds the drawn token if it is not among them; it is removed again.
    """
    ranked = sorted(top.items(), key=lambda pair: -pair[1])[:count]
    return tuple((token, _finite(value)) for token, value in ranked)


def _score(choice: Choice, request: Request, usage: Usage, seconds: float) -> Generation:
    """Return the log-probabilities of the prompt's last tokens, without the drawn ones.

    Raises:
        BadReply: The server returned none.
    """
    pairs = zip(ids_of(request), choice.prompt_logprobs or (), strict=False)
    said = [row.get(str(token)) if row else None for token, row in pairs][-request.scored :]
    chances = [one.logprob for one in said if one is not None]
    _check_chances(chances)
    scored = tuple(map(_finite, chances))
    if len(scored) != request.scored:
        raise BadReply(
            "the endpoint returned no log-probabilities (prompt_logprobs) for the prompt's last "
            f"{request.scored} tokens; set `scores: false` in its profile"
        )
    return Generation(
        text="",
        ids=(),
        finish=finish(choice.finish_reason),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=cached(usage),
        logprobs=Logprobs(scored=scored),
        seconds=seconds,
    )


def _check_chances(values: Iterable[float | None]) -> None:
    """Check that log-probabilities are numbers of at most zero.

    Raises:
        BadReply: One is not.
    """
    for value in values:
        if value is not None and not value <= HIGHEST:
            raise BadReply(
                f"the endpoint returned the log-probability {value!r}, which is not at most 0"
            )


def _finite(value: float) -> float:
    """Return a log-probability that JSON can hold, as exact as two batches agree on."""
    return round(max(value, LEAST), 6)


def _nats(logprobs: Sequence[float]) -> float:
    weights = [math.exp(value) for value in logprobs]
    total = sum(weights)
    if not total:
        return 0.0
    return -sum(w / total * math.log(w / total) for w in weights if w)
