"""Solo thinking in other tools' files: split each row into the traces that it holds.

A row is a trace, holds several traces in a list, is a reply of an OpenAI-compatible server
(`choices`, also in the `response` of a batch), or is the output of vLLM's `generate` (`outputs`).
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
"""The fields of a trace and their usual names; the first name that a row has is taken."""
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")


@dataclass(frozen=True)
class TraceFacts:
    """A trace as a row gives it."""

    question: str
    answer: str | None
    model: str
    thinking: str
    reply: str
    closed: bool
    """Whether its author closed its thinking and ended its answer."""
    tokens: int = 0
    claimed: bool | None = None
    sampling: Mapping[str, Json] = field(default_factory=dict)


def fields_of(row: Row, given: Mapping[str, str]) -> dict[str, str]:
    """Return the field of each item: the given one, or the first usual one that the row has.

    Raises:
        BadRow: The row has no question, or no thinking.
    """
    usual = ((key, name) for key, names in USUAL.items() for name in reversed(names))
    fields = {key: name for key, name in usual if row.get(name) is not None} | dict(given)
    if "thinking" not in fields and "text" not in fields:
        raise BadRow(f"holds no thinking (its fields: {_names(row)}); {_fix('text')}")
    if "question" not in fields:
        raise BadRow(f"holds no question (its fields: {_names(row)}); {_fix('question')}")
    return fields


def _names(row: Row) -> str:
    return ", ".join(sorted(map(str, row)))


def _fix(key: str) -> str:
    return f"set its field: --field {key}=FIELD"


def unrolled(row: Row, text: str | None = None) -> Iterator[Row]:
    """Yield a row for each trace that a row holds.

    Args:
        row: A row of the file.
        text: The field with the text, if it is not a usual one; the field may hold a list.
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
    """Flatten one choice of a reply."""
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
    """Parse a trace.

    Args:
        row: One trace, unrolled.
        fields: The field of each item.
        tags: The tags around the thinking, if one text holds thinking and reply.
        model: The author, if no field names it.

    Raises:
        BadRow: A required item is missing.
    """
    has = {key: value_of(row, name) for key, name in fields.items() if _is_in(row, name)}
    by = model or has.get("model")
    if not by:
        raise BadRow(f"does not name its model; set --model NAME, or {_fix('model')}")
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
    """Return the question in a field: its text, or the last user turn of its messages."""
    if isinstance(value, str) and value.strip():
        return value
    turns = value if isinstance(value, list) else []
    texts = [one.get("content") for one in turns if one.get("role") == "user"]
    if texts and isinstance(texts[-1], str):
        return texts[-1]
    raise BadRow("holds no question")


def _claim(value: object) -> bool | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "correct")
    return bool(value)
