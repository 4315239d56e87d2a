"""Find the error in a reply's body, in the formats that servers use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_core import from_json

from collab.core.trajectory import Json

HOLDERS = ("error", "errors", "Error", "base_resp", "fault", "exception", "error_info")
"""Fields that hold an error; the first that is not empty counts."""
MESSAGES = (
    *("message", "error_message", "error_msg", "errmsg", "err_msg", "msg", "status_msg", "detail"),
    *("Message", "faultstring", "error", "description", "title", "error_description"),
)
"""Fields of an error that may hold its message; likewise."""
CODES = ("code", "type", "status", "error_code", "error_type", "status_code", "reason", "errcode")
"""Fields of an error that may hold its code, its type or its status."""
NESTED = ("metadata", "innererror", "inner_error", "details", "raw", "cause")
"""Fields of an error that may hold the error of the server behind a router."""
SUCCESSES = frozenset({"", "0", "200", "ok", "success", "succeeded", "none"})
"""Codes that do not report an error."""
LARGEST = 2**18
"""Bytes of a body that may be an error; a larger one is a completion."""
MARK = b"\xef\xbb\xbf"
"""A byte-order mark."""
DEPTH = 5
"""Levels of an error that are searched."""


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error of an API."""

    message: str
    codes: tuple[str, ...] = ()
    """The codes and types in the body."""
    status: int | None = None
    """The HTTP status, or the same number in the body."""
    certain: bool = True
    """Whether the body is an error by its form; False: it has a message only."""

    @property
    def shown(self) -> str:
        """The message or, if it is empty, the codes."""
        return self.message or ", ".join(self.codes)


def json_of(body: bytes) -> bytes:
    """Return the JSON in a body: after a byte-order mark, and after the comments of a router."""
    content = body.removeprefix(MARK).lstrip()
    while content.startswith(b":"):
        content = content.partition(b"\n")[2].lstrip()
    return content


def error_in(body: bytes) -> ApiError | None:
    """Find the error in a body; return None if it has none, or is not JSON."""
    if len(body) > LARGEST:
        return None
    try:
        return error_of(from_json(json_of(body)))
    except ValueError:
        return None


def error_of(content: Json) -> ApiError | None:
    """Find the error in a parsed body."""
    if isinstance(content, list):
        return error_of(content[0]) if content else None
    if not isinstance(content, dict):
        return None
    held = next(filter(None, (content.get(name) for name in HOLDERS)), None) or _of_choice(content)
    marked = "error" in (content.get("type"), content.get("object"))
    message = " ".join(_messages(content if held is None else held)) or " ".join(_messages(content))
    codes = (*_codes(held), *_codes(content, DEPTH))
    numbers = (int(code) for code in codes if code.isdigit() and 400 <= int(code) < 600)
    certain = (held is not None and held is not True) or marked
    if not message and not (certain and codes):
        return None
    return ApiError(message, codes, next(numbers, None), certain)


def _of_choice(content: dict[str, Json]) -> Json:
    """Return the error of the first choice."""
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return (first.get("error") or None) if isinstance(first, dict) else None


def _messages(held: Json, depth: int = 0) -> Iterator[str]:
    """Yield the message of an error, and those of the errors in it."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, list):
        for one in held[:DEPTH] if depth < DEPTH else ():
            yield from _messages(one, depth + 1)
    elif isinstance(held, dict) and depth < DEPTH:
        first = next(filter(None, (held.get(name) for name in MESSAGES)), None)
        for part in (first, *(held.get(name) for name in NESTED)):
            yield from _messages(part, depth + 1)


def _codes(held: Json, depth: int = 0) -> Iterator[str]:
    """Yield the codes of an error, and those of the errors in it."""
    if isinstance(held, list):
        for one in held[:DEPTH] if depth < DEPTH else ():
            yield from _codes(one, depth + 1)
    elif isinstance(held, dict):
        for value in (held.get(name) for name in CODES):
            if isinstance(value, str | int) and str(value).lower() not in SUCCESSES:
                yield str(value)
        for value in held.values() if depth < DEPTH else ():
            yield from _codes(value, depth + 1)
