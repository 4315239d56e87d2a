"""The store of generations: each draw is sampled once, by one caller, and never lost.

A draw is stored, claimed or free. The caller that claims it samples it; all others wait. A claim is
a lease: its owner renews it, and it expires if the owner dies.
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
"""With `CROWD` draws in progress, a transaction waits `LULL` seconds for others to share it."""
log = logging.getLogger(__name__)


class Store:
    """Generations by request and draw, each sampled once, for the first caller that asks.

    Any number of tasks and processes may ask at the same time. Open a store with `Store.open`.
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
        """Generations that this store's callers got without sampling."""
        self.kept = 0
        """Generations that were sampled here and are committed."""
        self._unkept: list[Transaction] = []
        """Transactions that could not be committed."""
        self._database = Database(where, run, self._on_change, payer)
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
        notify: Notify = lambda message: None,
        lease: float = 60.0,
        clock: Callable[[], float] = time.time,
        pause: Pause = asyncio.sleep,
    ) -> AsyncIterator[Store]:
        """Open the store at a path (SQLite) or an SQLAlchemy URL; create it if it does not exist.

        If an error of the disk or the store ends the block, the error gets a note with the number
        of draws that were sampled in the block and are committed.

        Args:
            where: `runs/store.sqlite`, or a URL such as `postgresql+asyncpg://host/collab`.
            run: The folder of the run that asks. `collab prune` keeps the run's generations.
            payer: The id of the run that pays for the draws; empty: record no spending.
            notify: Called with a message while a database server is away, and with "" after that.
            lease: Seconds after which a claim that was not renewed may be taken over.
            clock: Returns seconds since 1970. Machines that share a store use the database's clock.
            pause: Waits some seconds.

        Raises:
            StoreError: The store cannot be opened, is not a store, or a newer collab made it.
        """
        store = cls(where, run, payer, lease, clock, pause)
        try:
            await store._database.prepare(clock(), notify)
            heart = asyncio.create_task(store._beat())
            try:
                yield store
            except BaseException as error:
                await store._finish(heart)
                if isinstance(error, StoreError | RunError | OSError | MemoryError):
                    error.add_note(store._commit_note())
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
        """Return draws in the given order, and sample those that are neither stored nor claimed.

        `sample(range)` is called concurrently, once for each contiguous range that this call
        claims (not `jointly`: once for each draw). It returns at least the first draw of its range;
        the others are then requested one by one. The generations of each call are committed when it
        returns, together with what `account` pays for them, even if another call fails. If another
        caller is sampling a draw, this call waits for it.

        Raises:
            StoreError: The store cannot be read or written.
            Exception: An error of `sample`, raised once the other ranges are sampled and committed.
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
        """Store the part of a draw that was sampled before it was stopped, and return its key.

        It documents what `account` pays for, and is never returned as a draw.
        """
        key = f"{key_of(digest_of(request), draw)}/{uuid.uuid4().hex[:8]}"
        row = StoredRow(key, request.model, replace(generation, key=key))
        self._change.post(_kept([row], account))
        return key

    async def spent(self) -> dict[str, Cost]:
        """Return what all starts of the paying run have spent, by seat.

        Raises:
            StoreError: The store cannot be read or written.
        """
        await self._change(Transaction())  # wait for the partial draws that are still queued
        return await self._database.spent()

    async def versions(self) -> dict[str, dict[str, int]]:
        """Count the run's generations by model and by the model name that servers reported."""
        return await self._database.versions()

    async def _wait(self, draw: int, key: str) -> dict[int, Drawn]:
        """Wait for the task of this process that is getting a draw; return {} if it gives up."""
        end = self._flights[key].ends[key]
        await asyncio.wait([end])
        generation = end.result()
        if generation is None:
            return {}
        self.served += 1
        return {draw: Drawn(draw, generation, fresh=False)}

    def _lull(self) -> float:
        """Return how long a transaction waits for others: with many draws they arrive soon."""
        return LULL if len(self._flights) >= CROWD else 0.0

    async def _read(self, groups: Sequence[Iterable[str]]) -> StoreState:
        return await self._database.look_up(groups, self._clock())

    async def _commit(self, changes: Sequence[Transaction]) -> StoreState:
        now = self._clock()
        try:
            state = await self._database.commit(changes, now, expires=now + self._lease)
        except StoreError as error:
            if len(changes) == 1 or not no_room(error):  # else each is tried on its own
                self._unkept += [change for change in changes if change.keep]
            raise
        self.kept += sum(len(change.keep) for change in changes)
        return state

    async def _finish(self, heart: asyncio.Task[None]) -> None:
        """Commit what is queued, and retry the transactions that failed once."""
        heart.cancel()
        await self._look_up.close()
        await self._change.close()
        again, self._unkept = self._unkept, []
        with _logged("draws could not be kept"):
            if again:
                await self._commit(again)

    def _commit_note(self) -> str:
        """Describe how many of the sampled draws are committed."""
        if lost := sum(len(change.keep) for change in self._unkept):
            return f"of {self.kept + lost} draws sampled by this start {lost} are lost"
        if not self.kept:
            return "nothing was sampled by this start"
        return f"all {self.kept} draws sampled by this start are in the store"

    def _on_change(self, key: str) -> None:
        """Wake the task that waits for a draw, which another process has stored or released."""
        if flight := self._flights.get(key):
            flight.changed.set()

    async def _wait_for_change(self, seconds: float, changed: asyncio.Event) -> None:
        """Wait for a change, at most some seconds."""
        ends = [asyncio.ensure_future(end) for end in (self._pause(seconds), changed.wait())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                await end
        finally:
            for end in ends:
                end.cancel()

    async def _beat(self) -> None:
        """Renew the claims, three times per lease."""
        while True:
            await self._pause(self._lease / 3)
            await self._database.listen()
            if self._flights:
                with _logged("claims could not be renewed"):
                    await self._change(Transaction(renew=True))


class _Flight:
    """A caller's attempt to get some draws, which no other task of this process is getting."""

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
        """The generation of each draw, or None if given up. Other tasks of the process wait."""
        self.changed = asyncio.Event()
        """Set when another process has stored or released one of the draws."""
        self._got: dict[int, Drawn] = {}
        self._sample = sample
        self._jointly = jointly
        self._account = account

    async def fly(self) -> dict[int, Drawn]:
        """Get all draws: look them up, sample them, or wait while another process samples."""
        store = self._store
        store._flights |= dict.fromkeys(self.ends, self)
        try:
            pauses = _growing(store._database.patience)
            while True:
                self.changed.clear()
                busy = await self._find_stored()
                if held := await self._claim(busy):
                    await self._sample_all(_ranges(held) if self._jointly else _singles(held))
                elif self._left:
                    await store._wait_for_change(next(pauses), self.changed)
                if not self._left:
                    return self._got
        finally:
            await self._give_up()

    async def _find_stored(self) -> frozenset[str]:
        """Collect the stored draws; return the keys that other callers are sampling."""
        state = await self._store._look_up(tuple(self._left.values()))
        if mine := state.unnoted.intersection(self._left.values()):
            await self._store._change(Transaction(need=tuple(mine)))
        self._accept(state)
        return state.busy

    async def _claim(self, busy: frozenset[str]) -> list[int]:
        """Claim the draws that seem free, and return those that were claimed."""
        free = tuple(key for key in self._left.values() if key not in busy)
        if not free:
            return []
        state = await self._store._change(Transaction(claim=free))
        self._accept(state)
        return [draw for draw, key in self._left.items() if key in state.held]

    def _accept(self, state: StoreState, fresh: bool = False) -> None:
        """Collect the generations that were found, and pass them to the tasks that wait."""
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
        """Sample a range and commit the result; sample its missing draws one by one."""
        sampled = await self._sample(draws)
        if not 1 <= len(sampled) <= len(draws):
            raise StoreError(
                f"{len(sampled)} generations were sampled for the {len(draws)} draws from"
                f" {draws.start} on; the sampler must return between 1 and {len(draws)}"
            )
        self._store.sampled += len(sampled)
        rows = list(map(self._row, draws, sampled))
        self._accept(await self._store._change(_kept(rows, self._account)), fresh=True)
        if rest := draws[len(sampled) :]:
            await self._sample_all(_singles(rest))

    def _row(self, draw: int, generation: Generation) -> StoredRow:
        key = key_of(self._digest, draw)
        return StoredRow(key, self._request.model, generation)

    async def _give_up(self) -> None:
        """Release the claims on missing draws, so that others may try."""
        if not self._left:
            return
        left = tuple(self._left.values())
        try:
            with _logged("claims could not be released; they expire with their lease"):
                await self._store._change(Transaction(drop=left))
        finally:
            for key in left:
                self._end(key, None)


def _kept(rows: Sequence[StoredRow], account: Account | None) -> Transaction:
    """Return the transaction that stores generations, and what an account pays for them."""
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
    """Yield the pauses between attempts (seconds): 10 ms, growing to `most`."""
    return (min(0.01 * 1.5 ** min(turn, 99), most) for turn in count())


@contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.warning("%s: %s", what, error)
