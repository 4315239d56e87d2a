"""Grade the answers of a JSON lines file, many at a time, in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from collab.app.grade import agrade
from collab.core.bounded_json import parse_json
from collab.core.trajectory import Checks, Domain, Json
from collab.errors import GradingError
from collab.grading import Judgement

AT_ONCE = 256
"""Answers under way: enough to keep all workers busy."""


@dataclass(frozen=True, slots=True)
class GradedLine:
    """One line of the file with its judgement, or the reason why it has none."""

    number: int
    """Counted from 1."""
    id: Json
    """The line's own `id`, if it has one."""
    judgement: Judgement | None
    error: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the line's output."""
        head: dict[str, Json] = {"line": self.number}
        if self.id is not None:
            head["id"] = self.id
        if self.judgement is None:
            return {**head, "error": self.error}
        found = self.judgement
        return {
            **head,
            "verdict": found.verdict,
            "by": found.by,
            "extracted": found.extracted,
            "strict": found.strict,
            "lenient": found.lenient,
            **({"details": dict(found.details)} if found.details else {}),
        }


class _Line(BaseModel):
    """The keys of a line; others are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    answer: str
    gold: str | int | float | None = None
    domain: str | None = None
    options: tuple[str, ...] = ()
    id: str | int | None = None
    suites: Mapping[str, str] | None = None
    reads: Literal["program", "value", "call"] = "program"
    before: str = ""
    entry: str | None = None
    packages: tuple[str, ...] = ()


async def grade_lines(lines: Iterable[bytes], domain: Domain) -> AsyncIterator[GradedLine]:
    """Grade lines of JSON, and yield the results in the order of the lines.

    Args:
        lines: JSON objects with `answer` and `gold`, and where the grader needs them `domain`,
            `options` (choice) or `suites`, `before`, `entry`, `reads`, `packages` (code). Empty
            lines are passed over.
        domain: The domain of lines that name none.
    """
    waiting: deque[asyncio.Task[GradedLine]] = deque()
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                waiting.append(asyncio.create_task(_grade_line(number, line, domain)))
            if len(waiting) == AT_ONCE:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()


async def _grade_line(number: int, text: bytes, domain: Domain) -> GradedLine:
    try:
        line = _Line.model_validate(parse_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        return GradedLine(number, None, None, f"{where}: {first['msg']}")
    except ValueError as error:
        return GradedLine(number, None, None, f"not JSON: {error}")
    try:
        judgement = await agrade(
            answer=line.answer,
            gold=None if line.gold is None else str(line.gold),
            domain=cast("Domain", line.domain or domain),  # checked by `agrade`
            options=line.options,
            checks=_checks(line),
        )
    except GradingError as error:
        return GradedLine(number, line.id, None, str(error))
    return GradedLine(number, line.id, judgement)


def _checks(line: _Line) -> Checks | None:
    if line.suites is None:
        return None
    return Checks(line.suites, line.reads, line.before, line.entry, line.packages)
