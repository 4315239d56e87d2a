"""Maths answers, judged by math-verify in worker processes that can be killed.

A short text may ask for an endless computation (`9^{9^{9^{9}}}`) that no exception interrupts. So
each judgement has a limit of wall-clock time and of memory; a worker that reaches one is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import re
import signal
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from hashlib import blake2b
from typing import Self

from pebble import ProcessExpired, ProcessPool
from pydantic import Field

from collab.errors import GradingError
from collab.grading import Judgement
from collab.settings import Settings
from collab.trajectory import Question

MAX_CHARS = 20_000
"""How much of a long text is read: its end, where the answer stands."""
ATTEMPTS = 3
DOLLAR = re.compile(r"(?<!\\)\$")
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

log = logging.getLogger(__name__)


class MathsSettings(Settings):
    """How maths answers are judged."""

    workers: int = Field(default=2, ge=1)
    """Processes."""
    seconds: float = Field(default=10.0, gt=0)
    """Wall-clock time for one judgement, from its start in a worker."""
    memory: int = Field(default=2**31, ge=2**20)
    """Address space of a worker, in bytes (Linux only)."""


class MathsGrader:
    """Judges maths answers side by side; use it as an async context manager."""

    def __init__(self, settings: MathsSettings = MathsSettings()) -> None:  # noqa: B008 - frozen
        self._settings = settings
        self._pool: asyncio.Task[ProcessPool] | None = None
        self._verdicts: dict[bytes, asyncio.Task[Judgement]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._verdicts.values():
            task.cancel()
        await asyncio.gather(*self._verdicts.values(), return_exceptions=True)
        if self._pool is not None:
            await asyncio.to_thread(_stop, await self._pool)

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking.

        Raises:
            GradingError: The gold answer cannot be read, or no worker can be kept alive.
        """
        assert question.answer is not None
        return await self.compare(question.answer, text)

    async def compare(self, gold: str, text: str) -> Judgement:
        """Judge whether a text gives the gold answer; the same pair is judged once.

        Raises:
            GradingError: The gold answer cannot be read, or no worker can be kept alive.
        """
        text = text[-MAX_CHARS:]
        key = blake2b(f"{len(gold)}:{gold}{text}".encode("utf-8", "surrogatepass")).digest()
        if key not in self._verdicts:
            self._verdicts[key] = asyncio.create_task(self._grade(gold, text))
        return await asyncio.shield(self._verdicts[key])

    async def _grade(self, gold: str, text: str) -> Judgement:
        for _ in range(ATTEMPTS):
            pool = await self._running()
            try:
                return await asyncio.wrap_future(self._schedule(pool, gold, text))
            except (TimeoutError, MemoryError, ProcessExpired) as error:
                log.info("gave up on an answer of %d characters: %r", len(text), error)
                return Judgement("grader timeout", None, False, last_box(text))
            except BrokenProcessPool as error:
                log.warning("the grading workers are started anew: %r", error)
                await self._replace(pool)
        raise GradingError(f"the grading workers died {ATTEMPTS} times; see the log for the cause")

    def _schedule(self, pool: ProcessPool, gold: str, text: str) -> Future[Judgement]:
        try:
            return pool.schedule(_judge, args=(gold, text), timeout=self._settings.seconds)
        except RuntimeError as error:  # it broke since it was last used
            raise BrokenProcessPool(str(error)) from error

    async def _running(self) -> ProcessPool:
        if self._pool is None:
            start = asyncio.to_thread(_start, self._settings)
            self._pool = asyncio.create_task(start)
        return await asyncio.shield(self._pool)

    async def _replace(self, broken: ProcessPool) -> None:
        if self._pool is not None and self._pool.done() and self._pool.result() is broken:
            self._pool = None
            await asyncio.to_thread(_stop, broken)


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


def _start(settings: MathsSettings) -> ProcessPool:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "math_verify"])
    pool = ProcessPool(
        settings.workers, initializer=_set_limits, initargs=[settings.memory], context=context
    )
    if not pool.active:  # asking starts it
        raise GradingError("the grading workers did not start; see the log for the cause")
    return pool


def _stop(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves it bare
    pool.join()


def _set_limits(memory: int) -> None:  # pragma: no cover, coverage does not reach workers
    """Prepare a worker; runs in it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # one long multiplication runs no handler
    if sys.platform == "linux":
        import resource

        _, allowed = resource.getrlimit(resource.RLIMIT_AS)
        cap = memory if allowed == resource.RLIM_INFINITY else min(memory, allowed)
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit


def _judge(gold: str, text: str) -> Judgement:
    """Compare a text with the gold answer; runs in a worker, and may run for ever."""
    from math_verify import parse, verify

    expected = parse(gold if DOLLAR.search(gold) else f"${gold}$", parsing_timeout=None)
    if not expected:
        raise GradingError(f"the gold answer {gold!r} cannot be read; give it in LaTeX or digits")
    box = last_box(text)
    boxed = parse(rf"\boxed{{{box}}}", parsing_timeout=None) if box else []
    found = parse(text, parsing_timeout=None)
    strict = bool(boxed) and verify(expected, boxed, timeout_seconds=None)
    lenient = strict or verify(expected, found, timeout_seconds=None)
    if not boxed and not found:
        return Judgement("no answer", None, False, None)
    extracted = box if boxed else str(found[-1])
    return Judgement("correct" if lenient else "wrong", lenient, strict, extracted)
