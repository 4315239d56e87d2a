"""Many callers, one transaction: what came in while one is under way shares the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from collab.errors import StoreError

GROUP = 64
"""How many callers share one go at most."""
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
Queued = tuple[JobT, asyncio.Future[ResultT]]
"""A job, and what its caller waits for."""
log = logging.getLogger(__name__)


class Batch(Generic[JobT, ResultT]):
    """Does in one go all that came in while the last go was under way.

    Args:
        work: Does some jobs.
        linger: Says how long a go waits for more of them (seconds).
        splits: Says whether jobs that failed together may succeed one by one.
    """

    def __init__(
        self,
        work: Callable[[Sequence[JobT]], Awaitable[ResultT]],
        linger: Callable[[], float] = lambda: 0.0,
        splits: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        self._work, self._linger, self._splits = work, linger, splits
        self._queue: list[Queued[JobT, ResultT]] = []
        self._going: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, job: JobT) -> ResultT:
        """Return what the go with `job` in it gave: the same for every job of that go."""
        return await self._put(job)

    def post(self, job: JobT) -> None:
        """Have `job` done without waiting for it; what goes wrong is logged."""
        self._put(job).add_done_callback(_look)

    def _put(self, job: JobT) -> asyncio.Future[ResultT]:
        if self._closed:
            raise StoreError("the store is closed; ask for draws inside its `async with` block")
        done: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._queue.append((job, done))
        self._start()
        return done

    async def close(self) -> None:
        """Finish what is queued and take no more."""
        self._closed = True
        while self._going is not None:
            await asyncio.wait([self._going])

    def _start(self) -> None:
        if self._going is None and self._queue:
            self._going = asyncio.create_task(self._go())

    async def _go(self) -> None:
        if (pause := self._linger()) and not self._closed:
            await asyncio.sleep(pause)
        group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
        try:
            await self._do(group)
        finally:
            for done in _waiting(group):
                done.cancel()
            self._going = None
            self._start()

    async def _do(self, group: Sequence[Queued[JobT, ResultT]]) -> None:
        try:
            result = await self._work([job for job, _ in group])
        except Exception as error:  # for each caller to raise: none may wait for ever
            if len(group) > 1 and self._splits(error):
                for one in group:
                    await self._do([one])
            for done in _waiting(group):
                done.set_exception(error)
        else:
            for done in _waiting(group):
                done.set_result(result)


def _waiting(
    group: Iterable[tuple[object, asyncio.Future[ResultT]]],
) -> list[asyncio.Future[ResultT]]:
    return [done for _, done in group if not done.done()]


def _look(done: asyncio.Future[ResultT]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("a stopped draw could not be kept: %s", error)
