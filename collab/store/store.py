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

from collab.core.cost import Account, Cost
from collab.core.sampling import Drawn, Generation, Request
from collab.errors import RunError, StoreError
from collab.store.database import Database, Notify, StoredRow, StoreState, Transaction
from collab.store.database.place import no_room
from collab.store.draw_keys import digest_of, key_of
from collab.store.write_batch import Batch

Sample = Callable[[range], Awaitable[list[Generation]]]
Pause = Callable[[float], Awaitable[None]]
CROWD, LULL = 16, 0.01
"""Draws under way from which on a transaction waits so long for others to share it (seconds)."""
log = logging.getLogger(__name__)


class Store:
    """Generations by request and draw, each sampled once, by whoever asks first.

    Any number of tasks and processes may ask at the same time. Open it with `Store.open`.
    """

    def __init__(
        self,
        where: str | Path,
        run: Path | None,
        payer: str,
        lease: float,
        clock: Callable[[], float],
        pause: Pause,
    ) -> None:
        self.sampled = 0
        """Generations that were sampled for this store's callers."""
        self.served = 0
        """Generations that its callers got without sampling."""
        self.kept = 0
        """Generations that were sampled here and are committed."""
        self._unkept: list[Transaction] = []
        """What could not be committed."""
        self._database = Database(where, run, self._hear, payer)
        self._lease = lease
        self._clock = clock
        self._pause = pause
        self._flights: dict[str, _Flight] = {}
        self._look_up: Batch[Iterable[str], StoreState] = Batch(self._read, self._lull)
        self._change: Batch[Transaction, StoreState] = Batch(self._commit, self._lull, no_room)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        where: str | Path,
        *,
        run: Path | None = None,
        payer: str = "",
        tell: Notify = lambda said: None,
        lease: float = 60.0,
        clock: Callable[[], float] = time.time,
        pause: Pause = asyncio.sleep,
    ) -> AsyncIterator[Store]:
        """Open the store at a path (SQLite) or an SQLAlchemy URL; make it where there is none.

        An error of a disk or of the store that ends the block has a note that says how many of the
        draws that were sampled in it are committed.

        Args:
            where: `runs/store.sqlite`, or a URL such as `postgresql+asyncpg://host/collab`.
            run: The folder of the run that asks: what it was given is kept for it (`collab prune`).
            payer: The id of the run whose spending is kept with what it pays for; empty: no run's.
            tell: Is told that a database that is away is waited for, and "" when that is over.
            lease: Seconds after which a claim that nobody renewed may be taken over.
            clock: Seconds since 1970. Machines that share a store go by the database's own.
            pause: How to wait some seconds.

        Raises:
            StoreError: It cannot be opened there, is no store, or was made by a newer collab.
        """
        store = cls(where, run, payer, lease, clock, pause)
        try:
            await store._database.prepare(clock(), tell)
            heart = asyncio.create_task(store._beat())
            try:
                yield store
            except BaseException as error:
                await store._finish(heart)
                if isinstance(error, StoreError | RunError | OSError | MemoryError):
                    error.add_note(store._safe())
                raise
            await store._finish(heart)
        finally:
            await store._database.close()

    async def draws(
        self,
        request: Request,
        draws: Iterable[int],
        sample: Sample,
        *,
        jointly: bool = True,
        account: Account | None = None,
    ) -> list[Drawn]:
        """Return the draws asked for, in that order; sample those that nobody has.

        `sample(range)` is called for each contiguous range claimed by this call, or one by one if
        not `jointly`, side by side. It returns the first draws of its range, at least one; the rest
        are asked for singly. What it returns is committed at once, whatever becomes of the others.
        A draw that somebody else is sampling is waited for. What is returned is committed, and so
        is what `account` pays for the draws that are sampled here.

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
                got |= await _Flight(self, request, digest, free, sample, jointly, account).fly()
            else:
                draw, key = next(iter(missing.items()))
                got |= await self._wait(draw, key)
        return [got[draw] for draw in asked]

    def keep_partial(
        self, request: Request, draw: int, generation: Generation, account: Account | None = None
    ) -> str:
        """Keep what had come of a draw when it was stopped, and return its name in the store.

        It is evidence of what `account` pays for: no draw is ever served from it.
        """
        key = f"{key_of(digest_of(request), draw)}/{uuid.uuid4().hex[:8]}"
        row = StoredRow(key, request.model, replace(generation, key=key))
        self._change.post(_kept([row], account))
        return key

    async def spent(self) -> dict[str, Cost]:
        """Return what all starts of the run that pays have spent, by seat.

        Raises:
            StoreError: The store cannot be read or written.
        """
        await self._change(Transaction())  # what is stopped is kept behind the caller's back
        return await self._database.spent()

    async def versions(self) -> dict[str, dict[str, int]]:
        """Count what the run was given, by model and by what servers called it."""
        return await self._database.versions()

    async def _wait(self, draw: int, key: str) -> dict[int, Drawn]:
        """Wait for the task of this process that is getting this draw; {} if it gave up."""
        end = self._flights[key].ends[key]
        await asyncio.wait([end])
        generation = end.result()
        if generation is None:
            return {}
        self.served += 1
        return {draw: Drawn(draw, generation, fresh=False)}

    def _lull(self) -> float:
        """Return how long to wait for others before a transaction: in a crowd they come soon."""
        return LULL if len(self._flights) >= CROWD else 0.0

    async def _read(self, groups: Sequence[Iterable[str]]) -> StoreState:
        return await self._database.look_up(groups, self._clock())

    async def _commit(self, changes: Sequence[Transaction]) -> StoreState:
        now = self._clock()
        try:
            state = await self._database.commit(changes, now, expires=now + self._lease)
        except StoreError as error:
            if len(changes) == 1 or not no_room(error):  # else each is tried by itself
                self._unkept += [change for change in changes if change.keep]
            raise
        self.kept += sum(len(change.keep) for change in changes)
        return state

    async def _finish(self, heart: asyncio.Task[None]) -> None:
        """Commit what is queued, and try once more what could not be committed."""
        heart.cancel()
        await self._look_up.close()
        await self._change.close()
        again, self._unkept = self._unkept, []
        with _logged("draws could not be kept"):
            if again:
                await self._commit(again)

    def _safe(self) -> str:
        """Say what is safe of what was sampled."""
        if lost := sum(len(change.keep) for change in self._unkept):
            return f"of {self.kept + lost} draws sampled by this start {lost} are lost"
        if not self.kept:
            return "nothing was sampled by this start"
        return f"all {self.kept} draws sampled by this start are in the store"

    def _hear(self, key: str) -> None:
        """Wake whoever waits for this draw, which another process has kept or given up."""
        if flight := self._flights.get(key):
            flight.news.set()

    async def _rest(self, seconds: float, news: asyncio.Event) -> None:
        """Pause, until there is news at most."""
        ends = [asyncio.ensure_future(end) for end in (self._pause(seconds), news.wait())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                await end
        finally:
            for end in ends:
                end.cancel()

    async def _beat(self) -> None:
        """Renew the claims three times a lease."""
        while True:
            await self._pause(self._lease / 3)
            await self._database.listen()
            if self._flights:
                with _logged("claims could not be renewed"):
                    await self._change(Transaction(renew=True))


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
        account: Account | None,
    ) -> None:
        self._store = store
        self._request = request
        self._digest = digest
        self._left = keys
        future = asyncio.get_running_loop().create_future
        self.ends: dict[str, asyncio.Future[Generation | None]]
        self.ends = {key: future() for key in keys.values()}
        """What became of each draw, None where it was given up: others of this process wait."""
        self.news = asyncio.Event()
        """Another process has kept or given up one of them."""
        self._got: dict[int, Drawn] = {}
        self._sample = sample
        self._jointly = jointly
        self._account = account

    async def fly(self) -> dict[int, Drawn]:
        """Get all of them: stored, sampled, or waited for where another process samples."""
        store = self._store
        store._flights |= dict.fromkeys(self.ends, self)
        try:
            pauses = _growing(store._database.patience)
            while True:
                self.news.clear()
                busy = await self._look()
                if held := await self._claim(busy):
                    await self._sample_all(_ranges(held) if self._jointly else _singles(held))
                elif self._left:
                    await store._rest(next(pauses), self.news)
                if not self._left:
                    return self._got
        finally:
            await self._give_up()

    async def _look(self) -> frozenset[str]:
        """Take what is stored; return what somebody else is sampling."""
        state = await self._store._look_up(tuple(self._left.values()))
        if mine := state.unnoted.intersection(self._left.values()):
            await self._store._change(Transaction(need=tuple(mine)))
        self._land(state)
        return state.busy

    async def _claim(self, busy: frozenset[str]) -> list[int]:
        """Claim what seems free, and return the draws that are ours to sample."""
        free = tuple(key for key in self._left.values() if key not in busy)
        if not free:
            return []
        state = await self._store._change(Transaction(claim=free))
        self._land(state)
        return [draw for draw, key in self._left.items() if key in state.held]

    def _land(self, state: StoreState, fresh: bool = False) -> None:
        """Take what was found, and hand it to the tasks that wait for it."""
        for draw, key in tuple(self._left.items()):
            if generation := state.found.get(key):
                del self._left[draw]
                self._got[draw] = Drawn(draw, generation, fresh)
                self._store.served += not fresh
                self._end(key, generation)

    def _end(self, key: str, generation: Generation | None) -> None:
        del self._store._flights[key]
        self.ends[key].set_result(generation)

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
        rows = list(map(self._row, draws, sampled))
        self._land(await self._store._change(_kept(rows, self._account)), fresh=True)
        if rest := draws[len(sampled) :]:
            await self._sample_all(_singles(rest))

    def _row(self, draw: int, generation: Generation) -> StoredRow:
        key = key_of(self._digest, draw)
        return StoredRow(key, self._request.model, generation)

    async def _give_up(self) -> None:
        """Release what was not got, so that others may try."""
        if not self._left:
            return
        left = tuple(self._left.values())
        try:
            with _logged("claims could not be released; they lapse with their lease"):
                await self._store._change(Transaction(drop=left))
        finally:
            for key in left:
                self._end(key, None)


def _kept(rows: Sequence[StoredRow], account: Account | None) -> Transaction:
    """Return the change that keeps some generations, and what an account pays for them."""
    if account is None:
        return Transaction(keep=tuple(rows))
    cost = account.pay(row.generation for row in rows)
    return Transaction(keep=tuple(rows), paid=((account.seat, cost),))


def _singles(draws: Iterable[int]) -> list[range]:
    return [range(draw, draw + 1) for draw in draws]


def _ranges(draws: Iterable[int]) -> list[range]:
    """Join draws into contiguous ranges."""
    counter = count()
    runs = (list(run) for _, run in groupby(sorted(draws), key=lambda draw: draw - next(counter)))
    return [range(run[0], run[-1] + 1) for run in runs]


def _growing(most: float) -> Iterator[float]:
    """Yield the seconds between one look and the next: 10 ms, growing to `most`."""
    return (min(0.01 * 1.5 ** min(turn, 99), most) for turn in count())


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.warning("%s: %s", what, error)
