"""The store of generations: what was sampled once is never sampled again, and never lost.

A draw is stored, or claimed by somebody who is sampling it, or free. Whoever claims it samples it;
all others wait for it. A claim is a lease: its owner renews it, and a dead owner's runs out.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path
from typing import Generic, TypeVar

from collab.database import Change, Database, Row, State
from collab.draws import digest_of, key_of
from collab.errors import StoreError
from collab.sampling import Drawn, Generation, Request

GROUP = 64
"""How many callers share one transaction at most."""

Sample = Callable[[range], Awaitable[list[Generation]]]
Pause = Callable[[float], Awaitable[None]]
Job = TypeVar("Job")
Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Store:
    """Generations by request and draw, each sampled once, by whoever asks first.

    Any number of tasks and processes may ask at the same time. Open it with `Store.open`.
    """

    def __init__(
        self, database: Database, lease: float, clock: Callable[[], float], pause: Pause
    ) -> None:
        self.sampled = 0
        """Generations that were sampled for this store's callers."""
        self.served = 0
        """Generations that its callers got without sampling."""
        self._database = database
        self._lease = lease
        self._clock = clock
        self._pause = pause
        self._flights: dict[str, asyncio.Future[Generation | None]] = {}
        self._look_up: _Batch[Iterable[str], State] = _Batch(self._read)
        self._change: _Batch[Change, State] = _Batch(self._commit)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        where: str | Path,
        *,
        lease: float = 60.0,
        clock: Callable[[], float] = time.time,
        pause: Pause = asyncio.sleep,
    ) -> AsyncIterator[Store]:
        """Open the store at a path (SQLite) or an SQLAlchemy URL; make it where there is none.

        Args:
            where: `runs/store.sqlite`, or a URL such as `postgresql+asyncpg://host/collab`.
            lease: Seconds after which a claim that nobody renewed may be taken over.
            clock: Seconds since 1970; the machines that share a store must agree on it.
            pause: How to wait some seconds.

        Raises:
            StoreError: It cannot be opened there, is no store, or was made by a newer collab.
        """
        database = Database(where)
        try:
            await database.prepare(clock())
            store = cls(database, lease, clock, pause)
            heart = asyncio.create_task(store._beat())
            try:
                yield store
            finally:
                heart.cancel()
                await store._look_up.close()
                await store._change.close()
        finally:
            await database.close()

    async def draws(
        self, request: Request, draws: Iterable[int], sample: Sample, *, jointly: bool = True
    ) -> list[Drawn]:
        """Return the draws asked for, in that order; sample those that nobody has.

        `sample(range)` is called for each contiguous range claimed by this call, or one by one if
        not `jointly`, side by side. It returns the first draws of its range, at least one; the rest
        are asked for singly. What it returns is committed at once, whatever becomes of the others.
        A draw that somebody else is sampling is waited for. What is returned is committed.

        Raises:
            StoreError: The store cannot be read or written.
            Exception: What `sample` raised; the other ranges are sampled and kept first.
        """
        digest, asked = digest_of(request), tuple(draws)
        keys = {draw: key_of(digest, draw) for draw in asked}
        got: dict[int, Drawn] = {}
        while missing := {draw: key for draw, key in keys.items() if draw not in got}:
            free = {draw: key for draw, key in missing.items() if key not in self._flights}
            if free:
                got |= await _Flight(self, request, digest, free, sample, jointly).fly()
            else:
                draw, key = next(iter(missing.items()))
                got |= await self._wait(draw, key)
        return [got[draw] for draw in asked]

    def keep_partial(self, request: Request, draw: int, generation: Generation) -> str:
        """Keep what had come of a draw when it was stopped, and return its name in the store.

        It is evidence of what was paid for: no draw is ever served from it.
        """
        key = f"{key_of(digest_of(request), draw)}/{uuid.uuid4().hex[:8]}"
        row = Row(key, request.model, replace(generation, key=key))
        self._change.post(Change(keep=(row,)))
        return key

    async def _wait(self, draw: int, key: str) -> dict[int, Drawn]:
        """Wait for the task of this process that is getting this draw; {} if it gave up."""
        flight = self._flights[key]
        await asyncio.wait([flight])
        generation = flight.result()
        if generation is None:
            return {}
        self.served += 1
        return {draw: Drawn(draw, generation, fresh=False)}

    async def _read(self, groups: Sequence[Iterable[str]]) -> State:
        return await self._database.look_up(groups, self._clock())

    async def _commit(self, changes: Sequence[Change]) -> State:
        now = self._clock()
        return await self._database.commit(changes, now, expires=now + self._lease)

    async def _beat(self) -> None:
        """Renew the claims three times a lease."""
        while True:
            await self._pause(self._lease / 3)
            if self._flights:
                with _logged("claims could not be renewed"):
                    await self._change(Change(renew=True))


class _Flight:
    """One caller's way to some draws that no other task of this process is getting."""

    def __init__(
        self,
        store: Store,
        request: Request,
        digest: str,
        keys: dict[int, str],
        sample: Sample,
        jointly: bool,
    ) -> None:
        self._store = store
        self._request = request
        self._digest = digest
        self._left = keys
        self._got: dict[int, Drawn] = {}
        self._sample = sample
        self._jointly = jointly

    async def fly(self) -> dict[int, Drawn]:
        """Get all of them: stored, sampled, or waited for where another process samples."""
        loop = asyncio.get_running_loop()
        store = self._store
        store._flights |= {key: loop.create_future() for key in self._left.values()}
        try:
            pauses = _growing()
            while True:
                busy = await self._look()
                if held := await self._claim(busy):
                    await self._sample_all(_ranges(held) if self._jointly else _singles(held))
                elif self._left:
                    await store._pause(next(pauses))
                if not self._left:
                    return self._got
        finally:
            await self._give_up()

    async def _look(self) -> frozenset[str]:
        """Take what is stored; return what somebody else is sampling."""
        state = await self._store._look_up(tuple(self._left.values()))
        self._land(state)
        return state.busy

    async def _claim(self, busy: frozenset[str]) -> list[int]:
        """Claim what seems free, and return the draws that are ours to sample."""
        free = tuple(key for key in self._left.values() if key not in busy)
        if not free:
            return []
        state = await self._store._change(Change(claim=free))
        self._land(state)
        return [draw for draw, key in self._left.items() if key in state.held]

    def _land(self, state: State, fresh: bool = False) -> None:
        """Take what was found, and hand it to the tasks that wait for it."""
        for draw, key in tuple(self._left.items()):
            if generation := state.found.get(key):
                del self._left[draw]
                self._got[draw] = Drawn(draw, generation, fresh)
                self._store.served += not fresh
                self._store._flights.pop(key).set_result(generation)

    async def _sample_all(self, ranges: Iterable[range]) -> None:
        sampling = map(self._sample_range, ranges)
        for outcome in await asyncio.gather(*sampling, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _sample_range(self, draws: range) -> None:
        """Sample a range and commit what came; what is missing of it is sampled singly."""
        sampled = await self._sample(draws)
        if not 1 <= len(sampled) <= len(draws):
            raise StoreError(
                f"{len(sampled)} generations were sampled for the {len(draws)} draws from"
                f" {draws.start} on; the sampler must return the first ones, at least one"
            )
        self._store.sampled += len(sampled)
        rows = tuple(map(self._row, draws, sampled))
        self._land(await self._store._change(Change(keep=rows)), fresh=True)
        if rest := draws[len(sampled) :]:
            await self._sample_all(_singles(rest))

    def _row(self, draw: int, generation: Generation) -> Row:
        key = key_of(self._digest, draw)
        return Row(key, self._request.model, generation)

    async def _give_up(self) -> None:
        """Release what was not got, so that others may try."""
        if not self._left:
            return
        left = tuple(self._left.values())
        try:
            with _logged("claims could not be released; they lapse with their lease"):
                await self._store._change(Change(drop=left))
        finally:
            for key in left:
                self._store._flights.pop(key).set_result(None)


class _Batch(Generic[Job, Result]):
    """Do in one go all that came in while the last go was under way."""

    def __init__(self, work: Callable[[Sequence[Job]], Awaitable[Result]]) -> None:
        self._work = work
        self._queue: list[tuple[Job, asyncio.Future[Result]]] = []
        self._going: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, job: Job) -> Result:
        """Return what the go with `job` in it gave: the same for every job of that go."""
        return await self._put(job)

    def post(self, job: Job) -> None:
        """Have `job` done without waiting for it; what goes wrong is logged."""
        self._put(job).add_done_callback(_look)

    def _put(self, job: Job) -> asyncio.Future[Result]:
        if self._closed:
            raise StoreError("the store is closed; ask for draws inside its `async with` block")
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
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
        group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
        try:
            result = await self._work([job for job, _ in group])
        except Exception as error:  # for each caller to raise: none may wait for ever
            for done in _waiting(group):
                done.set_exception(error)
        else:
            for done in _waiting(group):
                done.set_result(result)
        finally:
            for done in _waiting(group):
                done.cancel()
            self._going = None
            self._start()


def _waiting(
    group: Iterable[tuple[object, asyncio.Future[Result]]],
) -> list[asyncio.Future[Result]]:
    return [done for _, done in group if not done.done()]


def _singles(draws: Iterable[int]) -> list[range]:
    return [range(draw, draw + 1) for draw in draws]


def _ranges(draws: Iterable[int]) -> list[range]:
    """Join draws into contiguous ranges."""
    counter = count()
    runs = (list(run) for _, run in groupby(sorted(draws), key=lambda draw: draw - next(counter)))
    return [range(run[0], run[-1] + 1) for run in runs]


def _growing() -> Iterator[float]:
    """Yield the seconds between one look and the next: 10 ms, growing to 1 s."""
    return (min(0.01 * 1.5**turn, 1.0) for turn in count())


def _look(done: asyncio.Future[Result]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("a stopped draw could not be kept: %s", error)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.warning("%s: %s", what, error)
