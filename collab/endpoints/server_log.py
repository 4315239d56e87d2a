"""Read the log of a server: how far its start is, and why it failed, by a table of expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence

StartStages = Sequence[tuple[str, str]]
"""Expressions, each with what its line says; groups fill its braces."""
UsualFailures = Sequence[tuple[str, str]]
"""Expressions, each with what helps."""
KILLED = "it was killed, most likely because the machine ran out of memory"


def stage(stages: StartStages, log: str) -> str:
    """Say how far a starting server is: what the latest line says."""
    found = [
        (match.start(), said.format(*match.groups()))
        for pattern, said in stages
        for match in re.finditer(pattern, log)
    ]
    return max(found, default=(0, "starting"))[1]


def failure(failures: UsualFailures, log: str, exit_code: int | None) -> str | None:
    """Explain why a server stopped, where that is a usual failure."""
    for pattern, helps in failures:
        if re.search(pattern, log):
            return helps
    return KILLED if exit_code in (-9, 137) else None
