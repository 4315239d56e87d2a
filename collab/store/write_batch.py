"""Batch the jobs of many callers: those that arrive during one transaction share the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from collab.errors import StoreError

GROUP = 64
"""The largest number of jobs in a batch."""
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
Queued = tuple[JobT, asyncio.Future[ResultT]]
"""A job, and the future that its caller awaits."""
log = logging.getLogger(__name__)


class Batch(Generic[JobT, ResultT]):
    """A queue of jobs that does them in batches, one batch at a time.

    Args:
        work: Does the jobs of a batch.
        linger: Returns how long a batch waits for more jobs before it starts (seconds).
        splits: Returns whether the jobs of a failed batch may succeed one by one.
    """

    def __init__(
        self,
        work: Callable[[Sequence[JobT]], Awaitable[ResultT]],
        linger: Callable[[], float] = lambda: 0.0,
        splits: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        self._work, self._linger, self._splits = work, linger, splits
        self._queue: list[Queued[JobT, ResultT]] = []
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, job: JobT) -> ResultT:
        """Do a job, and return the result of its batch, which all jobs of the batch share."""
        return await self._put(job)

    def post(self, job: JobT) -> None:
        """Queue a job without waiting for it; an error is logged."""
        self._put(job).add_done_callback(_log_error)

    def _put(self, job: JobT) -> asyncio.Future[ResultT]:
        if self._closed:
            raise StoreError("the store is closed; ask for draws inside its `async with` block")
        done: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._queue.append((job, done))
        self._start()
        return done

    async def close(self) -> None:
        """Finish the queued jobs and accept no more."""
        self._closed = True
        while self._running is not None:
            await asyncio.wait([self._running])

    def _start(self) -> None:
        if self._running is None and self._queue:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        if (pause := self._linger()) and not self._closed:
            await asyncio.sleep(pause)
        group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
        try:
            await self._do(group)
        finally:
            for done in _waiting(group):
                done.cancel()
            self._running = None
            self._start()

    async def _do(self, group: Sequence[Queued[JobT, ResultT]]) -> None:
        try:
            result = await self._work([job for job, _ in group])
        except Exception as error:  # each caller raises it; otherwise they would wait for ever
            if len(group) > 1 and self._splits(error):
                for queued in group:
                    await self._do([queued])
            for done in _waiting(group):
                done.set_exception(error)
        else:
            for done in _waiting(group):
                done.set_result(result)


def _waiting(
    group: Iterable[tuple[object, asyncio.Future[ResultT]]],
) -> list[asyncio.Future[ResultT]]:
    return [done for _, done in group if not done.done()]


def _log_error(done: asyncio.Future[ResultT]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("a stopped draw could not be kept: %s", error)
