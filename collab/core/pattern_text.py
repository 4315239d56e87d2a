"""A setting that holds a regular expression, checked when the settings are built."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def _check(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


PatternText = Annotated[str, AfterValidator(_check)]
"""A setting that holds a regular expression. Other texts are refused."""
