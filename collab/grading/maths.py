"""Maths answers, judged by math-verify in worker processes that can be killed.

A short text may ask for an endless computation (`9^{9^{9^{9}}}`) that no exception interrupts. So
each judgement has a limit of CPU time and of memory; a worker that reaches one is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import re
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
from collab.grading import Judgement
from collab.grading.verdicts import Verdicts
from collab.grading.workers import WorkerLimits, Workers, WorkerStopped

MAX_CHARS = 20_000
"""How much of a long text is read: its end, where the answer stands."""
PACKAGES = ("math-verify", "latex2sympy2-extended", "sympy")
DOLLAR = re.compile(r"(?<!\\)\$")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

log = logging.getLogger(__name__)


class MathsSettings(Settings):
    """How maths answers are judged."""

    counts: Literal["lenient", "strict"] = "lenient"
    """What decides the verdict: any answer that can be read, or the last box alone."""
    workers: int = Field(default=2, ge=1)
    """Processes."""
    seconds: float = Field(default=10.0, gt=0)
    """CPU time for one judgement."""
    wall: float = Field(default=300.0, gt=0)
    """Wall-clock time for one judgement, for a machine that stands still."""
    memory: int = Field(default=2**31, ge=2**20)
    """Address space of a worker, in bytes (Linux only)."""


class MathsGrader:
    """Judges maths answers side by side; use it as an async context manager.

    Args:
        settings: How they are judged.
        verdicts: The file in which judgements are kept for later; None keeps them in memory alone.
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
    r"""Return what stands in the last `\boxed{...}` whose braces close."""
    start = text.rfind(r"\boxed{")
    while start >= 0:
        inside, depth = start + len(r"\boxed{"), 1
        for brace in BRACE.finditer(text, inside):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if not depth:
                return text[inside : brace.start()].strip()
        start = text.rfind(r"\boxed{", 0, start)
    return None


def _strictly(judgement: Judgement) -> Judgement:
    """Let the last box alone decide."""
    if judgement.lenient is None:
        return judgement
    return replace(judgement, verdict="correct" if judgement.strict else "wrong")


@cache
def _version() -> str:
    """Name all that decides a judgement, so that none outlives a change."""
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    own = blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()
    return "; ".join([*packages, own])


def _judge(gold: str, text: str) -> Judgement:
    """Compare a text with the gold answer; runs in a worker, and may run for ever."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit
    expected = parse(gold if DOLLAR.search(gold) else f"${gold}$", parsing_timeout=None)
    if not expected:
        raise GradingError(f"the gold answer {gold!r} cannot be read; give it in LaTeX or digits")
    box = last_box(text)
    boxed = _read(box) if box else []
    found = parse(text, parsing_timeout=None)
    strict = box is not None and (
        "".join(box.split()) == "".join(gold.split())
        or any(verify(expected, one, timeout_seconds=None) for one in boxed)
    )
    lenient = strict or verify(expected, found, timeout_seconds=None)
    if not lenient and not boxed and not found:
        return Judgement("no answer", None, False, None)
    extracted = box or str(found[-1])
    return Judgement("correct" if lenient else "wrong", lenient, strict, extracted)


def _read(box: str) -> list[list[object]]:
    """Read what stands in a box, as a box and as it stands: a per cent sign means two things."""
    from math_verify import parse

    readings = (parse(text, parsing_timeout=None) for text in (rf"\boxed{{{box}}}", f"${box}$"))
    return [reading for reading in readings if reading]
