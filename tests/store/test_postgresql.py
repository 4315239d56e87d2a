"""Only with a server: it goes away and comes back, and its clock decides."""

import asyncio
import time
from typing import Any

import pytest

from collab.core.sampling import Generation, Request, Sampling
from collab.store.database import Database, Transaction
from collab.store.store import Store

REQUEST = Request("pocket@1", "2 + 2 =", Sampling(), 16)


async def sample(draws: range) -> list[Generation]:
    return [Generation(f"draw {draw}", None, "stop") for draw in draws]


async def test_a_server_that_restarts_costs_no_draw(
    postgres: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sampled, gone = asyncio.Event(), asyncio.Event()
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def resume(seconds: float) -> None:
        if not pauses:
            postgres.resume()
        pauses.append(seconds)
        await sleep(0)

    async def meanwhile(draws: range) -> list[Generation]:
        sampled.set()
        await gone.wait()
        return await sample(draws)

    async with Store.open(postgres.place()) as store:
        task = asyncio.create_task(store.draws(REQUEST, range(3), meanwhile))
        await sampled.wait()
        postgres.stop()
        monkeypatch.setattr("collab.store.database.asyncio.sleep", resume)
        gone.set()
        drawn = await task
        monkeypatch.undo()
        assert [one.generation.text for one in drawn] == ["draw 0", "draw 1", "draw 2"]
        assert len(await store.draws(REQUEST, range(3), sample)) == 3
    assert (store.sampled, store.served) == (3, 3)
    assert pauses
    assert "retrying in 0.1 s" in caplog.text


async def test_a_listener_that_was_cut_off_listens_again(postgres: Any, sql: Any) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    where = postgres.place()
    one, other = Database(where, on_change=heard.put_nowait), Database(where)
    try:
        await one.prepare(time.time())
        await other.prepare(time.time())
        mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        await sql(where, mine)
        await one.listen()
        key = f"{'ab' * 16}-7"
        await other.commit([Transaction(drop=(key,))], 0.0, 60.0)
        assert await heard.get() == key
    finally:
        await one.close()
        await other.close()


async def test_machines_whose_clocks_differ_go_by_the_servers(postgres: Any) -> None:
    where = postgres.place()
    key = f"{'ab' * 16}-7"
    early, late = time.time() - 3600, time.time() + 3600
    one, other = Database(where), Database(where)
    try:
        await one.prepare(early)
        assert (await one.commit([Transaction(claim=(key,))], early, early + 60)).held == {key}
        await other.prepare(late)
        assert (await other.look_up([[key]], late)).busy == {key}
        assert (
            await other.commit([Transaction(claim=(key,))], late, late + 60)
        ).held == frozenset()
        over = await other.commit([Transaction(claim=(key,))], late + 61, late + 121)
        assert over.held == {key}
    finally:
        await one.close()
        await other.close()
