"""A run's spending is stored with its generations, and counts once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from collab.core.cost import Account, Cost, Prices, Rates
from collab.core.sampling import Generation, Request, Sampling
from collab.store.database import Database
from collab.store.database.spending import Spending
from collab.store.store import Store

Sql = Callable[..., Awaitable[Sequence[Any]]]  # Any: rows of what the columns hold
REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16)
RATES = Rates(Prices(prompt=1.0, completion=2.0), parameters=0.5)
DRAW = Generation("So 4.", None, "stop", prompt_tokens=10, completion_tokens=5, seconds=0.5)


async def sample(draws: range) -> list[Generation]:
    return [DRAW] * len(draws)


async def test_what_was_spent_is_there_at_the_next_start_by_seat(where: str) -> None:
    main, guide = Account(RATES, seat="main"), Account(Rates(), seat="guide")
    async with Store.open(where, payer="one") as store:
        await store.draws(REQUEST, range(3), sample, account=main)
        await store.draws(replace(REQUEST, replicate=1), range(2), sample, account=guide)
    async with Store.open(where, payer="one") as store:
        await store.draws(replace(REQUEST, replicate=2), [0], sample, account=main)
        spent = await store.spent()
    assert spent == {"main": main.spent, "guide": guide.spent}
    assert spent["main"] == Cost.of([RATES.cost(DRAW)] * 4)


async def test_draws_that_are_there_already_cost_nothing_and_another_run_pays_for_its_own(
    where: str,
) -> None:
    one, other = Account(RATES, seat="main"), Account(RATES, seat="main")
    async with Store.open(where, payer="one") as store:
        await store.draws(REQUEST, range(3), sample, account=one)
    async with Store.open(where, payer="other") as store:
        await store.draws(REQUEST, range(5), sample, account=other)
        assert (await store.spent())["main"].draws == 2
    async with Store.open(where, payer="one") as store:
        assert (await store.spent())["main"].draws == 3


async def test_runs_that_ask_at_once_pay_for_each_draw_once(where: str) -> None:
    async def ask(payer: str) -> int:
        account = Account(RATES, seat="main")
        async with Store.open(where, payer=payer) as store:
            await store.draws(REQUEST, range(20), sample, jointly=False, account=account)
            return (await store.spent()).get("main", Cost()).draws

    assert sum(await asyncio.gather(*map(ask, ("one", "two", "three")))) == 20


async def test_a_stopped_draw_is_paid_for(where: str) -> None:
    account = Account(RATES, seat="main")
    async with Store.open(where, payer="one") as store:
        store.keep_partial(REQUEST, 0, replace(DRAW, finish="cancelled"), account)
        assert await store.spent() == {"main": RATES.cost(DRAW)}


async def test_a_store_that_nobody_pays_from_keeps_no_spending(where: str, sql: Sql) -> None:
    async with Store.open(where) as store:
        await store.draws(REQUEST, range(3), sample, account=Account(RATES, seat="main"))
        assert await store.spent() == {}
    assert await sql(where, "SELECT seat FROM spent") == []


async def test_a_transaction_that_is_done_twice_counts_once(where: str) -> None:
    database = Database(where)
    spending = Spending("one", database.url.get_backend_name())
    try:
        await database.prepare(time.time())
        for draws in (1, 2):
            due = spending.due([("main", Cost(draws=draws)), ("main", Cost(draws=10))])
            for _ in range(2):  # the first one's answer got lost
                await database.write(partial(spending.write, due=due))
            spending.note(due)
        assert await database.read(spending.read) == {"main": Cost(draws=23)}
    finally:
        await database.close()


async def test_a_run_that_is_pruned_keeps_what_it_has_spent(where: str, sql: Sql) -> None:
    account = Account(RATES, seat="main")
    async with Store.open(where, payer="one") as store:
        await store.draws(REQUEST, range(3), sample, account=account)
    await sql(where, "DELETE FROM generations")
    async with Store.open(where, payer="one") as store:
        await store.draws(REQUEST, range(3), sample, account=account)
        assert (await store.spent())["main"].draws == 6
