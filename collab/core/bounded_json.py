"""Parse JSON from outside, with limits on its nesting and on the size of integers."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json

DEEPEST = 200
"""The deepest nesting; it is the limit of pydantic's parser."""
LARGEST = 2**63
"""Integers must be smaller than this."""
HUGE = re.compile(rb"[:,\[\s]-?\d{19}")
"""Matches text in which an integer may be too large."""


def parse_json(text: bytes, *, strict: bool = False) -> Any:  # any: JSON
    """Parse JSON with at most `DEEPEST` levels of nesting.

    Args:
        text: The JSON.
        strict: Refuse NaN, infinities and halves of surrogate pairs; else allow these, as
            Python's own writer does, and refuse integers from `LARGEST` on.

    Raises:
        ValueError: The text is not JSON, or exceeds a limit.
    """
    try:
        value = from_json(text, allow_inf_nan=not strict)
    except ValueError as error:
        if "recursion" in str(error):
            raise ValueError(f"nested more than {DEEPEST} levels deep") from None
        if strict:
            raise
        value = _parse_surrogates(text)
        _check_limits(value)
    if not strict and HUGE.search(text):
        _check_limits(value)
    return value


def _parse_surrogates(text: bytes) -> Any:  # any: JSON
    """Parse JSON with halves of surrogate pairs, which pydantic's parser refuses."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None


def _check_limits(value: object) -> None:
    level: list[object] = [value]
    for _ in range(DEEPEST + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, int) and abs(item) >= LARGEST:
                raise ValueError("an integer in it needs more than 63 bits")
        level = inner
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} levels deep")
