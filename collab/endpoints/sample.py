"""Turn a server's reply into a `Generation`, and check it.

If the prompt was token ids, the reply must hold the ids of prompt and completion. A prompt that
differs from the one that was sent is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from collab.core.sampling import FinishReason, Generation, Logprobs, OpenTurn, Request
from collab.endpoints.bound import are_ids, check_ids, check_text
from collab.endpoints.finish_reasons import Ending, ending_of
from collab.endpoints.limits import Retryable
from collab.endpoints.reply import Choice, Completion, Usage
from collab.endpoints.request_format import ids_of
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, PromptChanged, Unreachable

FINISHES: dict[Ending, FinishReason] = {"stop": "stop", "length": "length", "refused": "abort"}
LEAST = -9999.0
"""The log-probability of an impossible token, in JSON."""
HIGHEST = 1.0
"""No log-probability is higher, however it was rounded."""
SHORT = 8
"""Tokens up to which a draw keeps the likeliest tokens of each place."""


def generations(
    reply: Completion,
    request: Request,
    tokenizer: Tokenizer | None,
    seconds: float,
    *,
    counted: bool = False,
) -> list[Generation]:
    """Check a whole reply and return its choices in order; note what is odd in it.

    Args:
        reply: The reply.
        request: The request that it answers.
        tokenizer: The model's tokenizer, if available.
        seconds: The time that the draw took.
        counted: Whether an earlier reply has proved that the server reads its prompts as sent. A
            reply that proves nothing is then passed over.

    Raises:
        Retryable: The server aborted the draw.
        BadReply: Ids are missing, or the server read another prompt than was sent.
    """
    echoes = {choice.prompt_token_ids for choice in reply.choices} | {reply.prompt_token_ids}
    for echo in echoes - {None} or {None}:
        if counted and echo is None and (reply.usage is None or reply.usage.prompt_tokens is None):
            reply.odd.append("the prompt's tokens are not counted")
        else:
            check_prompt(request, echo, reply.usage, tokenizer)
    return [_generation(choice, reply, request, tokenizer, seconds) for choice in reply.ordered]


def proves_prompt(reply: Completion) -> bool:
    """Return whether a reply shows or counts the tokens of the prompt."""
    counted = reply.usage is not None and reply.usage.prompt_tokens is not None
    return counted or any(
        ids is not None
        for ids in (reply.prompt_token_ids, *(one.prompt_token_ids for one in reply.choices))
    )


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
        counted = "none" if usage is None or usage.prompt_tokens is None else usage.prompt_tokens
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
        return _score(choice, reply, request, seconds)
    if ids is None and isinstance(request.prompt, tuple):
        raise BadReply(
            "the endpoint returned no token ids (return_token_ids), which dialect 'ids' needs; "
            "set the model's dialect to 'text'"
        )
    if ids is not None:
        check_ids(request, ids)
    else:
        check_text(request, choice.written)
    text = tokenizer.decode(ids) if tokenizer and ids is not None else choice.written
    reason = _stop_reason(choice, text, request.stop) or None
    if ids is None and isinstance(reason, str) and not text.endswith(reason):
        text += reason  # this server cuts the stop string off and says which one it was
    return Generation(
        text=text,
        ids=ids,
        finish=_finish(choice, reply, request),
        stop_reason=reason,
        prompt_tokens=_prompt_tokens(usage, request, tokenizer),
        completion_tokens=_count(ids, text, reply, tokenizer),
        cached_tokens=cached(usage),
        logprobs=_logprobs(choice, request, reply.odd),
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
    text = tokenizer.decode(ids) if tokenizer and ids is not None else choice.written
    return Generation(
        text=text,
        ids=ids,
        finish="cancelled",
        prompt_tokens=_prompt_tokens(usage or Usage(), request, tokenizer),
        completion_tokens=_count(ids, text, reply, tokenizer),
        cached_tokens=cached(usage) if usage else None,
        seconds=seconds,
    )


def _prompt_tokens(usage: Usage, request: Request, tokenizer: Tokenizer | None) -> int:
    """Return the server's count of the prompt's tokens, or else our own; 0 if both are unknown."""
    if usage.prompt_tokens is not None:
        return usage.prompt_tokens
    return len(_sent(request, tokenizer) or ())


def _count(
    ids: tuple[int, ...] | None, text: str, reply: Completion, tokenizer: Tokenizer | None
) -> int:
    """Count a choice's tokens: its ids, else the server's count of a lone choice, else our own.

    Without a tokenizer, each of several choices has a share of the server's count, by its length.
    If there is no count either, four characters are a token, so that every text uses the budget.
    """
    if ids is not None:
        return len(ids)
    several = len(reply.choices) > 1
    if several and tokenizer:
        return len(tokenizer.encode(text))
    counted = reply.usage.completion_tokens if reply.usage else None
    if counted is not None:
        whole = sum(len(one.written) for one in reply.choices)
        return round(counted * (len(text) / max(whole, 1) if several else 1))
    return len(tokenizer.encode(text)) if tokenizer else (len(text) + 3) // 4


def _finish(choice: Choice, reply: Completion, request: Request) -> FinishReason:
    """Return why a draw ended; `context` if the server silently shortened it.

    Raises:
        Retryable: The server aborted the draw, or ended without a text for an unknown reason.
    """
    if choice.refused:
        return "abort"
    count = None
    if choice.token_ids is not None:
        count = len(choice.token_ids)
    elif len(reply.choices) == 1 and reply.usage:
        count = reply.usage.completion_tokens
    reason = choice.finish_reason
    ending = ending_of(reason) or _unknown_ending(choice, reply, count, request.max_tokens)
    if ending == "again":
        raise Retryable(Unreachable(f"the endpoint aborted the draw (finish_reason {reason!r})"))
    short = ending == "length" and count is not None and count < request.max_tokens
    return "context" if short else FINISHES[ending]


def _unknown_ending(choice: Choice, reply: Completion, count: int | None, most: int) -> Ending:
    """Note a missing or unknown finish reason; a text that is not cut at the limit is whole.

    Raises:
        Retryable: There is no text, and thus no sign that the draw is whole.
    """
    reason = choice.finish_reason
    if not choice.written and not choice.token_ids:
        raise Retryable(
            BadReply(f"the endpoint returned no text and the unknown finish_reason {reason!r}")
        )
    reply.odd.append("no finish_reason" if reason is None else f"finish_reason {reason!r}")
    return "length" if count is not None and count >= most else "stop"


def cached(usage: Usage) -> int | None:
    """Return the tokens of the prompt from the server's cache; None if it does not report them."""
    return usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None


def _stop_reason(choice: Choice, text: str, stop: Sequence[str]) -> str | int | None:
    """Return the reported stop string, or else the one that ends the text."""
    if ending_of(choice.finish_reason) != "stop" or "stop_reason" in choice.model_fields_set:
        return choice.stop_reason
    return next((string for string in stop if string in text), None)


def _logprobs(choice: Choice, request: Request, odd: list[str]) -> Logprobs | None:
    """Parse the log-probabilities of the tokens."""
    found = choice.logprobs
    if not request.logprobs or found is None or found.top_logprobs is None:
        return None
    known = [_known(top or {}, odd) for top in found.top_logprobs]
    ranked = [_ranked(top, request.logprobs) for top in known]
    drawn = [value for value in found.token_logprobs or () if value is not None]
    _check_chances(drawn)
    _check_chances(value for top in ranked for _, value in top)
    if len(drawn) < len(found.token_logprobs or ()):  # a part would be a mean of other tokens
        odd.append("token_logprobs null")
        drawn = []
    return Logprobs(
        drawn=tuple(map(_finite, drawn)),
        entropies=tuple(round(_nats([value for _, value in top]), 6) for top in ranked),
        tops=tuple(ranked) if request.max_tokens <= SHORT else (),
    )


def _known(top: Mapping[str, float | None], odd: list[str]) -> dict[str, float]:
    """Return the likeliest tokens whose log-probability is known."""
    known = {token: value for token, value in top.items() if value is not None}
    if len(known) < len(top):
        odd.append("top_logprobs null")
    return known


def _ranked(top: Mapping[str, float], count: int) -> tuple[tuple[str, float], ...]:
    """Return the `count` likeliest tokens, the likeliest first.

    A server adds the drawn token if it is not among them; it is removed again.
    """
    ranked = sorted(top.items(), key=lambda pair: -pair[1])[:count]
    return tuple((token, _finite(value)) for token, value in ranked)


def _score(choice: Choice, reply: Completion, request: Request, seconds: float) -> Generation:
    """Return the log-probabilities of the prompt's last tokens, without the drawn ones.

    Raises:
        BadReply: The server returned none.
    """
    usage = reply.usage or Usage()
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
        finish=_finish(choice, reply, request),
        prompt_tokens=_prompt_tokens(usage, request, None),
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=cached(usage),
        logprobs=Logprobs(scored=scored),
        seconds=seconds,
    )


def _check_chances(values: Iterable[float | None]) -> None:
    """Check that log-probabilities are at most zero.

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
