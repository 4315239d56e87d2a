"""Classify the errors of an API by their code and their message, whatever their HTTP status.

Servers report one failure under many statuses: a full context as 400, 413 or 500, an empty account
as 402, 403 or 429, and any of them within a reply of status 200. The code decides if it is known,
then the wording, then the status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from collab.endpoints.error_wordings import (
    CODES,
    DENIED,
    FIELD,
    MODERATION,
    OUTPUT,
    OVERFLOWS,
    QUOTA,
    RATE,
    STATUSES,
    TRANSIENT,
    ErrorKind,
)

_TOO_MUCH = re.compile(r"limit:? ([\d,]+).{0,40}requested:? ([\d,]+)", re.IGNORECASE | re.DOTALL)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns), re.IGNORECASE | re.DOTALL)


_WORDINGS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = (
    ("refused", _any(FIELD)),
    ("rate limit", _any(RATE)),
    ("quota", _any(QUOTA)),
    ("refused", _any(OUTPUT)),
    ("overflow", _any(*OVERFLOWS.values())),
    ("moderation", _any(MODERATION)),
    ("denied", _any(DENIED)),
)
"""Wordings by kind; the first that matches counts."""
_PASSING = _any(TRANSIENT)
LEADING = frozenset[ErrorKind]({"overflow", "quota", "moderation"})
"""The kinds that a code decides, whatever the wording."""


def kind_of(status: int | None, codes: Iterable[str], message: str) -> ErrorKind:
    """Classify an error.

    Args:
        status: The HTTP status, or the number in the body; None: there is neither.
        codes: The codes and types in the body.
        message: The message in the body.
    """
    coded = [CODES[code] for code in map(_plain, codes) if code in CODES]
    first = next((kind for kind in coded if kind in LEADING), None)
    if first is not None:
        return "rate limit" if first == "quota" and wait_in(message) is not None else first
    worded = next((kind for kind, pattern in _WORDINGS if pattern.search(message)), None)
    if worded is None:
        return _by_code(status, coded, message)
    if worded == "rate limit" and _can_never_fit(message):
        return "refused"
    if worded == "quota" and wait_in(message) is not None:
        return "rate limit"
    return _agreed(worded, status, coded)


def _by_code(status: int | None, coded: list[ErrorKind], message: str) -> ErrorKind:
    """Classify an error with no known wording."""
    if status is not None and status in STATUSES:
        return STATUSES[status]
    if coded:
        return coded[0]
    if status is not None and status >= 500:
        return "transient"
    if status is not None and status >= 400:
        return "refused"
    return "transient" if _PASSING.search(message) else "unknown"


def _agreed(worded: ErrorKind, status: int | None, coded: list[ErrorKind]) -> ErrorKind:
    """Weigh a known wording against a status that contradicts it.

    A full context and an empty account are certain whatever the status. Otherwise a failing server
    or an exceeded rate is repeated, and a refusal to authenticate is not a moderation.
    """
    if worded in ("overflow", "quota", "rate limit"):
        return worded
    if "rate limit" in coded or status == 429:
        return "rate limit"
    if status is not None and status >= 500 and worded in ("refused", "denied"):
        return "transient"
    if status == 401:
        return "denied"
    return worded


def _can_never_fit(message: str) -> bool:
    """Return whether one request is larger than the limit of a whole minute."""
    found = _TOO_MUCH.search(message)
    if found is None:
        return False
    limit, requested = (int(number.replace(",", "")) for number in found.groups())
    return requested > limit


_UNIT = r"(?:milli\w*|ms|s|sec\w*|m|min\w*|h|hours?)"
_NUMBER = r"\d+(?:\.\d+)?"
_WAIT = re.compile(
    rf"(?:retry|try again|wait|reset\w*)\D{{0,24}}?"
    rf"((?:{_NUMBER}(?:ms|h|m|s))+|(?:{_NUMBER}\s*{_UNIT}\b[\s,]*(?:and )?)+)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def wait_in(message: str) -> float | None:
    """Return the pause that a message asks for (seconds), such as "try again in 1m6.5s"."""
    found = _WAIT.search(message)
    if found is None:
        return None
    parts = _DURATION.findall(found[1])
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def _plain(code: str) -> str:
    return code.strip().lower().replace(" ", "_").replace("-", "_")
