"""Maths answers, judged by math-verify in worker processes that can be killed.

A short text may ask for an endless computation (`9^{9^{9^{9}}}`) that no exception interrupts. So
each judgement has a limit of CPU time and of memory; a worker that reaches one is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from collab.core.settings import Settings
from collab.core.trajectory import Question
from collab.errors import GradingError
from collab.grading import (
    Judgement,
    equality,
    normal_form,
    number_words,
    quantity,
    ranges,
    reply,
    structure,
    units,
)
from collab.grading.equality import MATHS, compare, is_sure
from collab.grading.reply import (
    Box,
    boxes,
    last_line,
    marked,
    predicates,
    readable,
    stated,
    together,
)
from collab.grading.verdicts import Verdicts
from collab.grading.workers import WorkerLimits, Workers, WorkerStopped

MAX_CHARS = 20_000
"""The last characters of a long text, which are read."""
PACKAGES = ("math-verify", "latex2sympy2-extended", "sympy")
LONGEST = 400
"""Characters of a statement that may be an answer."""
OWN = (equality, normal_form, number_words, quantity, ranges, reply, structure, units)
"""The modules whose bytes decide a judgement, besides this one."""

log = logging.getLogger(__name__)


class MathsSettings(Settings):
    """How maths answers are judged."""

    counts: Literal["lenient", "strict"] = "lenient"
    """Which answer decides: any that can be read (lenient), or only the last box (strict)."""
    workers: int = Field(default=2, ge=1)
    """Processes."""
    seconds: float = Field(default=10.0, gt=0)
    """CPU time for one judgement."""
    wall: float = Field(default=300.0, gt=0)
    """Wall-clock time for one judgement, in case the machine is suspended."""
    memory: int = Field(default=2**31, ge=2**20)
    """Address space of a worker, in bytes (Linux only)."""


class MathsGrader:
    """Judges maths answers in parallel; use it as an async context manager.

    Args:
        settings: The settings of the grader.
        verdicts: The file that keeps judgements for later runs; None: they are kept in memory.
    """

    def __init__(
        self,
        settings: MathsSettings = MathsSettings(),  # noqa: B008 - frozen
        verdicts: Path | None = None,
    ) -> None:
        self._settings = settings
        caps = WorkerLimits(settings.seconds, settings.wall, settings.memory)
        preload = [__name__, "math_verify"]
        self._workers = Workers(settings.workers, _judge, caps, preload)
        self._kept = Verdicts(verdicts) if verdicts else None
        self._judgements: dict[bytes, Judgement] = {}
        self._tasks: dict[bytes, asyncio.Task[Judgement]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await self._workers.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._kept is not None:
            await self._kept.close()

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking.

        Raises:
            GradingError: The gold answer cannot be read, or no worker can be started.
        """
        assert question.answer is not None
        judgement = await self.compare(question.answer, text)
        return judgement if self._settings.counts == "lenient" else _strictly(judgement)

    async def compare(self, gold: str, text: str) -> Judgement:
        """Judge whether a text gives the gold answer; the same pair is judged once.

        Raises:
            GradingError: The gold answer cannot be read, or no worker can be started.
        """
        text = text[-MAX_CHARS:]
        said = f"{_version()}\0{len(gold)}:{gold}{text}".encode("utf-8", "surrogatepass")
        key = blake2b(said, digest_size=16).digest()
        if (known := self._judgements.get(key)) is not None:
            return known
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._grade(key, gold, text))
            self._tasks[key].add_done_callback(lambda _: self._tasks.pop(key, None))
        return await asyncio.shield(self._tasks[key])

    async def _grade(self, key: bytes, gold: str, text: str) -> Judgement:
        judgement = await self._kept.find(key) if self._kept else None
        if judgement is None:
            judgement = await self._judged(gold, text)
            if self._kept and judgement.verdict != "grader timeout":
                self._kept.keep(key, judgement)
        self._judgements[key] = judgement
        return judgement

    async def _judged(self, gold: str, text: str) -> Judgement:
        try:
            return await self._workers.call(gold, text)
        except (WorkerStopped, MemoryError) as error:
            log.info("gave up on an answer of %d characters: %r", len(text), error)
            return Judgement("grader timeout", None, False, last_box(text))


def last_box(text: str) -> str | None:
    r"""Return the inside of the last `\boxed{...}` with closed braces."""
    return next((one.inside for one in reversed(boxes(text)) if one.closed and one.asked), None)


def _strictly(judgement: Judgement) -> Judgement:
    """Let only the last box decide."""
    if judgement.lenient is None:
        return judgement
    return replace(judgement, verdict="correct" if judgement.strict else "wrong")


@cache
def _version() -> str:
    """Name all that decides a judgement, so that none outlives a change."""
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    files = [str(module.__file__) for module in (sys.modules[__name__], *OWN)]
    own = b"".join(Path(file).read_bytes() for file in files)
    return "; ".join([*packages, blake2b(own, digest_size=8).hexdigest()])


def _judge(gold: str, text: str) -> Judgement:
    """Compare a text with the gold answer; runs in a worker, and may run for ever."""
    gold = _unframed(gold)
    if not equality.readable(gold):
        raise GradingError(f"the gold answer {gold!r} cannot be read; give it in LaTeX or digits")
    found = boxes(text)
    return _boxed(gold, text, found) if found and found[-1].inside else _unboxed(gold, text)


def _unframed(gold: str) -> str:
    """Take the boxes off a gold answer; several are a list."""
    found = boxes(gold)
    return ", ".join(one.inside for one in found) if found else gold


def _boxed(gold: str, text: str, found: list[Box]) -> Judgement:
    """Judge the last box, open or not; then the last boxes as one list."""
    last = found[-1]
    right, by = compare(gold, last.inside)
    strict = right and last.closed and last.asked
    if not right and (listed := together(text, found)) is not None:
        right, by = compare(gold, listed)
    if not right and (said := stated(text[last.end :])):
        right, by = compare(gold, said)
    return Judgement("correct" if right else "wrong", right, strict, last.inside, by)


def _unboxed(gold: str, text: str) -> Judgement:
    """Judge the statement of a text without a box, or else what math-verify finds in it."""
    for said in (marked(text), stated(text), last_line(text)):
        if said and len(said) <= LONGEST:
            right, by = compare(gold, said)
            if right or (said != last_line(text) and is_sure(said)):
                return Judgement("correct" if right else "wrong", right, False, said, by)
    said = marked(text)
    if said is not None:
        return Judgement("wrong", False, False, said, MATHS)
    return _worded(gold, text) or _found(gold, text)


def _worded(gold: str, text: str) -> Judgement | None:
    """Find the gold answer as the predicate of the last sentence."""
    for said in predicates(text):
        right, by = compare(gold, said) if len(said) <= LONGEST else (False, "")
        if right:
            return Judgement("correct", True, False, said, by)
    return None


def _found(gold: str, text: str) -> Judgement:
    from math_verify import parse

    found = parse(readable(text), parsing_timeout=None)
    if not found:
        return Judgement("no answer", None, False, None)
    said = str(found[-1])
    right, by = compare(gold, said)
    return Judgement("correct" if right else "wrong", right, False, said, by)
