import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from collab.core.sampling import Generation, Logprobs, Request, Sampling
from collab.errors import StoreError
from collab.store.database.packing import unpack, unpack_key
from collab.store.draw_keys import digest_of, key_of
from collab.store.store import Store

Sql = Callable[..., Awaitable[Sequence[Any]]]  # Any: rows of what the columns hold
REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16, stop=("\n\n",))


class Sampler:
    """Counts the draws it is asked for; waits for `gate` if it has one."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.asked: list[range] = []
        self.begun = asyncio.Event()
        self.gate = gate

    async def __call__(self, draws: range) -> list[Generation]:
        self.asked.append(draws)
        self.begun.set()
        if self.gate:
            await self.gate.wait()
        return [Generation(f"draw {draw}", (draw, 2**31), "stop", "\n\n") for draw in draws]


async def _broken(draws: range) -> list[Generation]:
    raise RuntimeError(f"no server for {draws}")


def _texts(drawn: object) -> list[str]:
    assert isinstance(drawn, list)
    return [one.generation.text for one in drawn]


async def test_draws_come_back_in_the_order_asked_and_missing_ones_as_ranges(
    where: str,
) -> None:
    async with Store.open(where) as store:
        first = Sampler()
        await store.draws(REQUEST, [2], first)
        second = Sampler()
        drawn = await store.draws(REQUEST, [5, 0, 1, 2, 3, 1], second)
    assert _texts(drawn) == ["draw 5", "draw 0", "draw 1", "draw 2", "draw 3", "draw 1"]
    assert [one.fresh for one in drawn] == [True, True, True, False, True, True]
    assert sorted(second.asked, key=str) == [range(0, 2), range(3, 4), range(5, 6)]
    assert (store.sampled, store.served) == (5, 1)


LOGPROBS = Logprobs(
    (-0.1, -2.5), (0.3, 1.25), (((" 3", -0.1), ("half \ud83d", -9999.0)), ()), (-1.5,)
)


@pytest.mark.parametrize(
    "generation",
    [
        Generation("", None, "abort"),
        Generation("nul \x00, half \ud83d, whole 😀", (), "length"),
        Generation("x = 3.\n\n", (0, 2**32 - 1), "stop", 151643, 10, 2, 8, LOGPROBS, 1 / 3),
        Generation("x = 3.\n\n", (7,), "stop", "\n\n", 10, 1, None, None, 0.5),
    ],
)
async def test_a_generation_comes_back_as_it_was(where: str, generation: Generation) -> None:
    async def sample(_: range) -> list[Generation]:
        return [generation]

    expected = replace(generation, key=key_of(digest_of(REQUEST), 4))
    for fresh in (True, False):
        async with Store.open(where) as store:
            [drawn] = await store.draws(REQUEST, [4], sample)
        assert (drawn.generation, drawn.fresh) == (expected, fresh)


async def test_a_second_run_samples_nothing(where: str) -> None:
    for sampled, served in ((8, 0), (0, 8)):
        async with Store.open(where) as store:
            await store.draws(REQUEST, range(8), Sampler())
        assert (store.sampled, store.served) == (sampled, served)


async def test_other_requests_have_their_own_draws(where: str) -> None:
    async with Store.open(where) as store:
        await store.draws(REQUEST, [0], Sampler())
        other = Sampler()
        await store.draws(replace(REQUEST, replicate=1), [0], other)
    assert other.asked == [range(0, 1)]


async def test_tasks_that_ask_for_the_same_draws_share_one_sample(where: str) -> None:
    sampler = Sampler(gate=asyncio.Event())
    async with Store.open(where) as store, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.draws(REQUEST, range(turn % 3, 6), sampler))
            for turn in range(30)
        ]
        await sampler.begun.wait()
        assert sampler.gate is not None
        sampler.gate.set()
    assert sampler.asked == [range(0, 6)]
    assert sum(one.fresh for task in tasks for one in task.result()) == 6
    assert store.sampled == 6


async def test_overlapping_askers_wait_for_each_other_without_a_deadlock(where: str) -> None:
    sampler = Sampler()
    async with Store.open(where) as store, asyncio.TaskGroup() as group:
        for turn in range(20):
            asked = [(turn + step * 7) % 20 for step in range(10)]
            group.create_task(store.draws(REQUEST, asked, sampler))
    assert sorted(draw for one in sampler.asked for draw in one) == list(range(20))


async def test_a_failing_sampler_is_its_callers_and_the_next_waiter_samples(where: str) -> None:
    begun, gate, good = asyncio.Event(), asyncio.Event(), Sampler()

    async def bad(draws: range) -> list[Generation]:
        begun.set()
        await gate.wait()
        return await _broken(draws)

    async with Store.open(where) as store:
        first = asyncio.create_task(store.draws(REQUEST, [0], bad))
        await begun.wait()
        second = asyncio.create_task(store.draws(REQUEST, [0], good))
        gate.set()
        with pytest.raises(RuntimeError, match="no server"):
            await first
        assert _texts(await second) == ["draw 0"]
    assert good.asked == [range(0, 1)]


async def test_what_one_range_gave_is_kept_when_another_fails(where: str) -> None:
    good = Sampler()

    async def half(draws: range) -> list[Generation]:
        return await (good if draws.start else _broken)(draws)

    async with Store.open(where) as store:
        with pytest.raises(RuntimeError, match=r"range\(0, 2\)"):
            await store.draws(REQUEST, [0, 1, 4, 5], half)
        again = Sampler()
        await store.draws(REQUEST, range(6), again)
    assert again.asked == [range(0, 4)]


async def test_a_cancelled_caller_gives_up_its_claims_to_those_who_wait(
    where: str, sql: Sql
) -> None:
    slow, good = Sampler(gate=asyncio.Event()), Sampler()
    async with Store.open(where) as store:
        first = asyncio.create_task(store.draws(REQUEST, range(3), slow))
        await slow.begun.wait()
        second = asyncio.create_task(store.draws(REQUEST, range(3), good))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
    assert good.asked == [range(0, 3)]
    assert await sql(where, "SELECT * FROM claims") == []


async def test_a_draw_is_kept_as_it_comes_though_the_others_of_its_range_fail(
    where: str,
) -> None:
    first = Sampler()

    async def one_each(draws: range) -> list[Generation]:
        if draws.start == 2:
            return await _broken(draws)
        return (await first(draws))[:1]

    async with Store.open(where) as store:
        with pytest.raises(RuntimeError, match=r"range\(2, 3\)"):
            await store.draws(REQUEST, range(4), one_each)
        assert first.asked == [range(0, 4), range(1, 2), range(3, 4)]
        assert store.sampled == 3
        again = Sampler()
        await store.draws(REQUEST, range(4), again)
    assert again.asked == [range(2, 3)]


async def test_draws_that_are_not_to_be_had_jointly_are_asked_for_side_by_side(
    where: str,
) -> None:
    sampler = Sampler(gate=asyncio.Event())
    async with Store.open(where) as store:
        task = asyncio.create_task(store.draws(REQUEST, range(3), sampler, jointly=False))
        await sampler.begun.wait()
        assert sampler.asked == [range(0, 1), range(1, 2), range(2, 3)]
        assert sampler.gate is not None
        sampler.gate.set()
        assert _texts(await task) == ["draw 0", "draw 1", "draw 2"]


@pytest.mark.parametrize("given", [0, 3])
async def test_a_sampler_that_returns_no_draw_or_too_many_is_an_error(
    where: str, given: int
) -> None:
    async def odd(draws: range) -> list[Generation]:
        return await Sampler()(range(given))

    async with Store.open(where) as store:
        with pytest.raises(StoreError, match=f"{given} generations were sampled for the 2 draws"):
            await store.draws(REQUEST, [0, 1], odd)


async def test_a_stopped_draw_is_kept_and_never_served(where: str, sql: Sql) -> None:
    part = Generation("dra", (1,), "cancelled", prompt_tokens=3, completion_tokens=1)
    async with Store.open(where) as store:
        name = store.keep_partial(REQUEST, 0, part)
        sampler = Sampler()
        assert _texts(await store.draws(REQUEST, [0], sampler)) == ["draw 0"]
        assert sampler.asked == [range(0, 1)]
    rows = await sql(where, "SELECT key, body FROM generations")
    kept = {unpack_key(key): body for key, body in rows}
    assert name.startswith(key_of(digest_of(REQUEST), 0))
    assert kept.keys() == {name, key_of(digest_of(REQUEST), 0)}
    assert unpack(kept[name], name) == replace(part, key=name)


async def test_a_stopped_draw_that_cannot_be_kept_is_logged(
    where: str, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(where) as store:
        await sql(where, "DROP TABLE generations")
        store.keep_partial(REQUEST, 0, Generation("dra", (1,), "cancelled"))
    assert "a stopped draw could not be kept" in caplog.text


async def test_a_dead_owners_claim_is_taken_over_when_its_lease_has_run_out(where: str) -> None:
    now = [1000.0]
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        if seconds > 1:
            await asyncio.Event().wait()  # the heartbeat
        waits.append(seconds)
        now[0] += 6

    dead = Sampler(gate=asyncio.Event())
    async with Store.open(where, clock=lambda: now[0], lease=60) as store:
        task = asyncio.create_task(store.draws(REQUEST, [0], dead))
        await dead.begun.wait()
        async with Store.open(where, clock=lambda: now[0], pause=pause) as heir:
            drawn = await heir.draws(REQUEST, [0], Sampler())
            assert dead.gate is not None
            dead.gate.set()
            [late] = await task
    assert drawn[0].fresh
    assert len(waits) in (10, 11)  # a server has a clock of its own, which goes on
    assert waits == sorted(waits)
    assert late.generation == drawn[0].generation


async def test_a_living_owner_keeps_its_claim_past_the_lease(where: str) -> None:
    now = [1000.0]
    beats: asyncio.Queue[None] = asyncio.Queue()
    asked = asyncio.Event()

    async def heart(_: float) -> None:
        asked.set()
        await beats.get()

    async def pause(seconds: float) -> None:
        if seconds > 1:
            await asyncio.Event().wait()
        now[0] += 40  # two looks take longer than a lease
        asked.clear()
        beats.put_nowait(None)
        await asked.wait()
        if now[0] > 1200:
            assert slow.gate is not None
            slow.gate.set()

    slow, other = Sampler(gate=asyncio.Event()), Sampler()
    async with (
        Store.open(where, clock=lambda: now[0], pause=heart) as owner,
        Store.open(where, clock=lambda: now[0], pause=pause) as waiter,
    ):
        first = asyncio.create_task(owner.draws(REQUEST, [0], slow))
        await slow.begun.wait()
        [drawn] = await waiter.draws(REQUEST, [0], other)
        await first
    assert not drawn.fresh
    assert other.asked == []


async def test_a_closed_store_says_so(where: str) -> None:
    async with Store.open(where) as store:
        pass
    with pytest.raises(StoreError, match="the store is closed"):
        await store.draws(REQUEST, [0], Sampler())


async def test_a_cancelled_loop_ends_and_its_claims_are_gone(where: str, sql: Sql) -> None:
    sampler = Sampler(gate=asyncio.Event())

    async def run() -> None:
        async with Store.open(where) as store, asyncio.TaskGroup() as group:
            for turn in range(5):
                group.create_task(store.draws(REQUEST, [turn], sampler))

    task = asyncio.create_task(run())
    await sampler.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await sql(where, "SELECT * FROM claims") == []
