"""Read solo traces from trajectories in the Agent Trajectory Interchange Format (ATIF)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from collab.core.bounded_json import parse_json
from collab.errors import ConfigError
from collab.questions.dumps import SAMPLING
from collab.questions.files import Rows
from collab.questions.table import BadRow, Row

LARGEST = 1 << 26
"""Bytes of the largest file."""
ENDED = ("answered", None)
"""The finish of a trace that ended by itself; a file from another tool names none."""


def atif_rows(source: Path) -> Rows:
    """Yield a row for a file with one trajectory, or for each such file (*.json) of a folder.

    Raises:
        ConfigError: There is no such file.
    """
    files = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not files or not all(file.is_file() for file in files):
        raise ConfigError(f"{str(source)!r} is no ATIF file and no folder with some (*.json)")
    for file in files:
        yield file.name, _load_row(file)


def _load_row(file: Path) -> Row | BadRow:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise BadRow(f"has more than {LARGEST:,} bytes")
        return trace_row(_mapping(parse_json(text)))
    except BadRow as error:
        return error
    except (OSError, ValueError) as error:
        return BadRow(f"is not JSON that can be read: {error}")


def trace_row(document: Row) -> Row:
    """Return the row of a trace: question, thinking, reply, model, sampling and tokens.

    Raises:
        BadRow: It is no ATIF document, has several authors, or uses tools.
    """
    if not str(document.get("schema_version", "")).startswith("ATIF-"):
        raise BadRow("is no ATIF document: its schema_version does not begin with 'ATIF-'")
    steps = document.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        raise BadRow("holds no list of steps")
    written = [step for step in steps if step.get("source") == "agent"]
    asked = [_text(step.get("message")) for step in steps if step.get("source") == "user"]
    if len(asked) != 1:
        raise BadRow(f"has {len(asked)} user messages; a solo trace has one question")
    agent, extra = _mapping(document.get("agent")), _mapping(document.get("extra"))
    seat, model = _author(written, agent)
    sampling = _mapping(_mapping(_mapping(agent.get("extra")).get("seats")).get(seat))
    thinking = [step for step in written if step.get("reasoning_content")]
    return {
        "question": asked[0],
        "gold_answer": extra.get("gold_answer"),
        "reasoning": "".join(_text(step.get("reasoning_content")) for step in thinking),
        "response": "".join(_text(step.get("message")) for step in written),
        "model": model,
        "completion_tokens": sum(map(_tokens, thinking)),
        "finished": extra.get("finish") in ENDED,
        "correct": extra["verdict"] == "correct" if "verdict" in extra else None,
        **{name: sampling[name] for name in SAMPLING if name in sampling},
    }


def _author(written: Sequence[Row], agent: Row) -> tuple[str, str | None]:
    """Return the one seat and model that wrote a trajectory.

    Raises:
        BadRow: There are several, or tools or inserted text take part.
    """
    for step in written:
        if step.get("tool_calls") or step.get("observation"):
            raise BadRow(f"uses tools in step {step.get('step_id')}: it is no solo thinking")
        if step.get("llm_call_count") == 0:
            raise BadRow(f"has text in step {step.get('step_id')} that no model wrote")
    authors = {
        (
            str(_mapping(step.get("extra")).get("seat", "")),
            step.get("model_name") or agent.get("model_name"),
        )
        for step in written
    }
    if len(authors) != 1:
        names = ", ".join(sorted(seat or str(model) for seat, model in authors)) or "none"
        raise BadRow(f"has {len(authors)} authors ({names}); only a trace of one is a recording")
    ((seat, model),) = authors
    return seat, None if model is None else str(model)


def _tokens(step: Row) -> int:
    count = _mapping(step.get("metrics")).get("completion_tokens")
    return count if isinstance(count, int) else 0


def _text(message: object) -> str:
    """Return a message's text; other content, such as an image, is refused.

    Raises:
        BadRow: A part is no text.
    """
    return "".join(_parts(message))


def _parts(message: object) -> Iterator[str]:
    for part in message if isinstance(message, list) else [message]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            raise BadRow("has a message that is no text")
        yield text


def _mapping(value: object) -> Mapping[str, Any]:  # any: JSON
    return value if isinstance(value, Mapping) else {}
