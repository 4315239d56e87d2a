"""Others' files of solo thinking: their rows, each made into the traces that it holds.

A row is a trace; or it holds several in a list; or it is what an OpenAI-compatible server replied
(`choices`, also in the `response` of a batch), or what vLLM's own `generate` gave (`outputs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collab.core.trajectory import Json
from collab.questions.table import BadRow, Row, value_of

USUAL: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "input", "messages"),
    "answer": ("gold_answer", "answer", "ground_truth", "solution"),
    "thinking": ("reasoning", "reasoning_content", "thinking"),
    "reply": ("response", "content"),
    "text": ("generations", "generation", "completion", "output", "text"),
    "model": ("model", "model_name"),
    "correct": ("correct", "is_correct", "correctness_math_verify"),
    "finished": ("finished",),
    "finish": ("finish_reason", "finish_reasons"),
    "tokens": ("completion_tokens", "num_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "max_tokens": ("max_tokens", "max_new_tokens"),
}
"""What may be read of a row, and what files call it; the first that is there is taken."""
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")


@dataclass(frozen=True)
class TraceFacts:
    """A trace as a row tells of it."""

    question: str
    answer: str | None
    model: str
    thinking: str
    reply: str
    closed: bool
    """Whether its author closed its thinking, and came to the end of its answer."""
    tokens: int = 0
    claimed: bool | None = None
    sampling: Mapping[str, Json] = field(default_factory=dict)


def fields_of(row: Row, given: Mapping[str, str]) -> dict[str, str]:
    """Return which field of a row each thing is read from: what is given, else what is usual.

    Raises:
        BadRow: The row has no question, or nothing that was written.
    """
    usual = ((key, name) for key, names in USUAL.items() for name in reversed(names))
    fields = {key: name for key, name in usual if row.get(name) is not None} | dict(given)
    if "thinking" not in fields and "text" not in fields:
        raise BadRow(f"holds nothing that was thought (it has: {_names(row)}); {_say('text')}")
    if "question" not in fields:
        raise BadRow(f"holds no question (it has: {_names(row)}); {_say('question')}")
    return fields


def _names(row: Row) -> str:
    return ", ".join(sorted(map(str, row)))


def _say(key: str) -> str:
    return f"say where it stands: --field {key}=FIELD"


def unrolled(row: Row, text: str | None = None) -> Iterator[Row]:
    """Yield a row for each trace that a row holds.

    Args:
        row: As it stands in the file.
        text: The field with what was written, where it is not a usual one; it may hold a list.
    """
    whole = dict(row)
    reply = row.get("response")
    if isinstance(reply, Mapping) and isinstance(reply.get("body"), Mapping):
        whole |= {**reply["body"], "response": None}
    for name in ("choices", "outputs"):
        if isinstance(whole.get(name), list):
            yield from ({**whole, **_chosen(one)} for one in whole.pop(name))
            return
    names = USUAL["text"] if text is None else (text,)
    texts = next((whole[name] for name in names if isinstance(whole.get(name), list)), None)
    if texts is None:
        yield whole
        return
    alike = {k: v for k, v in whole.items() if isinstance(v, list) and len(v) == len(texts)}
    for number in range(len(texts)):
        yield {**whole, **{key: values[number] for key, values in alike.items()}}


def _chosen(one: object) -> Mapping[str, Any]:  # any: JSON
    """Return what one choice of a reply holds, flat."""
    if not isinstance(one, Mapping):
        return {"text": one}
    message = one.get("message")
    if not isinstance(message, Mapping):
        return one
    thought = message.get("reasoning") or message.get("reasoning_content")
    content = {"response" if thought else "text": message.get("content")}
    return {"finish_reason": one.get("finish_reason"), "reasoning": thought, **content}


def trace_facts(
    row: Row, fields: Mapping[str, str], tags: tuple[str, str], model: str | None
) -> TraceFacts:
    """Read a trace.

    Args:
        row: One trace, unrolled.
        fields: Which field each thing is read from.
        tags: What opens and closes the thinking, where thinking and reply stand in one text.
        model: Whose it is, where no field says so.

    Raises:
        BadRow: Something that is needed is not there.
    """
    has = {key: value_of(row, name) for key, name in fields.items() if _is_in(row, name)}
    by = model or has.get("model")
    if not by:
        raise BadRow(f"does not say whose it is: --model NAME, or {_say('model')}")
    thinking, reply, closed = _parts(has, *tags)
    if not thinking.strip():
        raise BadRow("holds no thinking")
    answer = has.get("answer")
    return TraceFacts(
        question=_asked(has.get("question")),
        answer=None if answer is None else str(answer),
        model=str(by),
        thinking=thinking,
        reply=reply,
        closed=closed and has.get("finished") is not False and has.get("finish") != "length",
        tokens=int(has.get("tokens") or 0),
        claimed=_claim(has.get("correct")),
        sampling={key: has[key] for key in SAMPLING if has.get(key) is not None},
    )


def _is_in(row: Row, field: str) -> bool:
    try:
        return value_of(row, field) is not None
    except BadRow:
        return False


def _parts(has: Row, opens: str, closes: str) -> tuple[str, str, bool]:
    """Return thinking and reply, and whether the thinking was closed."""
    if "thinking" in has:
        reply = str(has.get("reply") or "")
        return str(has["thinking"]), reply, bool(reply.strip())
    before, close, reply = str(has.get("text") or "").partition(closes)
    head, opened, thinking = before.partition(opens)
    return (thinking if opened and not head.strip() else before).lstrip("\n"), reply, bool(close)


def _asked(value: object) -> str:
    """Return the question in a field: its text, or what the last user turn of messages says."""
    if isinstance(value, str) and value.strip():
        return value
    turns = value if isinstance(value, list) else []
    said = [one.get("content") for one in turns if one.get("role") == "user"]
    if said and isinstance(said[-1], str):
        return said[-1]
    raise BadRow("holds no question")


def _claim(value: object) -> bool | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "correct")
    return bool(value)
