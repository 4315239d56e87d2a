"""Several processes share a store: each draw is sampled once, and a dead process blocks no one."""

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from collab.core.sampling import Generation, Request, Sampling
from collab.errors import StoreError
from collab.store.store import Store

Sql = Callable[..., Awaitable[Sequence[Any]]]  # Any: rows of what the columns hold
Pipe = Connection
Work = Callable[[str, Pipe], Awaitable[None]]
REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16, stop=("\n\n",))
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "asyncpg",
        "collab.store.store",
        "pytest",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.pysqlite",
    ]
)


async def sample(draws: range) -> list[Generation]:
    return [Generation(f"draw {draw}", None, "stop") for draw in draws]


async def never(_: float) -> None:
    await asyncio.Event().wait()


@contextmanager
def working(work: Work, where: str) -> Iterator[tuple[BaseProcess, Pipe]]:
    """Run a function in a process of its own, connected by a pipe."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_run, args=(work, where, there))
    process.start()
    there.close()
    try:
        yield process, here
        process.join(60)
        assert process.exitcode is not None
    finally:
        process.kill()
        process.join()
        here.close()


def _run(work: Work, where: str, pipe: Pipe) -> None:
    async def all_of_it() -> None:
        await work(where, pipe)

    asyncio.run(all_of_it())


async def own(where: str, pipe: Pipe) -> None:
    """Sample four draws when the pipe says so."""

    async def slow(draws: range) -> list[Generation]:
        pipe.send("sampling")
        if await asyncio.to_thread(pipe.recv) == "fail":
            raise RuntimeError("no server")
        return await sample(draws)

    async with Store.open(where) as store:
        try:
            await store.draws(REQUEST, range(4), slow)
        except RuntimeError as error:
            pipe.send(str(error))
        else:
            pipe.send(store.sampled)


async def wait(where: str, pipe: Pipe) -> None:
    """Request the same four draws; PostgreSQL must notify, because polling is off."""

    async def pause(seconds: float) -> None:
        if seconds < 1:
            pipe.send("waiting")
        await (never(seconds) if "://" in where else asyncio.sleep(seconds))

    async with Store.open(where, pause=pause) as store:
        drawn = await store.draws(REQUEST, range(4), sample)
        pipe.send((store.sampled, store.served, [one.generation.text for one in drawn]))


def _after(waits: Pipe) -> object:
    while (said := waits.recv()) == "waiting":
        continue
    return said


@pytest.mark.parametrize(("word", "sampled", "served"), [("go on", 0, 4), ("fail", 4, 0)])
def test_a_process_waits_for_the_draws_that_another_one_is_sampling(
    where: str, word: str, sampled: int, served: int
) -> None:
    with working(own, where) as (_, owner):
        assert owner.recv() == "sampling"
        with working(wait, where) as (_, waiter):
            assert waiter.recv() == "waiting"
            owner.send(word)
            assert owner.recv() == (4 if served else "no server")
            texts = ["draw 0", "draw 1", "draw 2", "draw 3"]
            assert _after(waiter) == (sampled, served, texts)


async def race(where: str, pipe: Pipe) -> None:
    pipe.send("ready")
    pipe.recv()
    async with Store.open(where) as store, asyncio.TaskGroup() as group:
        for start in range(40):
            group.create_task(store.draws(REQUEST, range(start, start + 3), sample))
    pipe.send(store.sampled)


async def test_processes_that_race_on_a_new_store_sample_each_draw_once(
    where: str, sql: Sql
) -> None:
    with working(race, where) as one, working(race, where) as two, working(race, where) as three:
        racers = [pipe for _, pipe in (one, two, three)]
        assert [racer.recv() for racer in racers] == ["ready"] * 3
        for racer in racers:
            racer.send("go")
        assert sum(racer.recv() for racer in racers) == 42
    assert len(await sql(where, "SELECT key FROM generations")) == 42
    assert await sql(where, "SELECT key FROM claims") == []


async def die(where: str, pipe: Pipe) -> None:
    """Sample four draws, and wait in the next four to be killed."""

    async def some(draws: range) -> list[Generation]:
        if draws.start == 4:
            pipe.send("sampling")
            await asyncio.Event().wait()
        return await sample(draws)

    async with Store.open(where) as store:
        await store.draws(REQUEST, range(4), some)
        await store.draws(REQUEST, range(8), some)


async def test_what_a_killed_process_had_committed_is_served_and_the_rest_free_at_once(
    where: str,
) -> None:
    asked: list[range] = []

    async def again(draws: range) -> list[Generation]:
        asked.append(draws)
        return await sample(draws)

    async def heartbeat_alone(seconds: float) -> None:
        assert seconds > 1, "it waits for a process that is no more"
        await never(seconds)

    async with Store.open(where, pause=heartbeat_alone) as store:
        with working(die, where) as (process, pipe):
            assert pipe.recv() == "sampling"
            process.kill()
        await store.draws(REQUEST, range(8), again)
    assert asked == [range(4, 8)]
    assert (store.sampled, store.served) == (4, 4)


async def fill(where: str, pipe: Pipe) -> None:
    """Store draws until the disk is full."""

    async def big(draws: range) -> list[Generation]:
        return [Generation(os.urandom(1_000_000).hex(), None, "stop") for draw in draws]

    async with Store.open(where) as store:
        await store.draws(REQUEST, range(4), sample)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            await store.draws(REQUEST, range(8), big)
        except StoreError as error:
            pipe.send(str(error))


async def test_a_disk_that_refuses_a_write_stops_the_caller_and_keeps_the_rest(
    tmp_path: os.PathLike[str],
) -> None:
    where = f"{os.fspath(tmp_path)}/store.sqlite"
    with working(fill, where) as (_, pipe):
        assert "committed draws are kept" in pipe.recv()
    async with Store.open(where) as store:
        await store.draws(REQUEST, range(4), sample)
    assert store.served == 4
