import asyncio

import pytest

from collab.endpoints.limits import Gate, Limits, Retryable
from collab.endpoints.window import Window
from collab.errors import Unreachable


async def hold(window: Window, until: asyncio.Event, *, first: bool = False) -> int:
    async with window.place(first=first) as mark:
        await until.wait()
        return mark


async def settle() -> None:
    """Let everything that can happen happen."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_crowded_server_gets_half_as_many_and_then_one_more_a_window_served() -> None:
    window = Window(16)
    async with window.place() as mark:
        window.crowded(mark)
    assert window.size == 8
    for _ in range(9):  # a little more than a window: each one counts for its share
        window.served()
    assert window.size == 9
    for _ in range(1000):
        window.served()
    assert window.size == 16


async def test_refusals_of_one_burst_halve_the_window_once() -> None:
    window, until = Window(16), asyncio.Event()
    burst = [asyncio.create_task(hold(window, until)) for _ in range(16)]
    until.set()
    for mark in await asyncio.gather(*burst):
        window.crowded(mark)
    assert window.size == 8
    async with window.place() as mark:
        window.crowded(mark)
    assert window.size == 4


async def test_the_window_never_closes() -> None:
    window = Window(2)
    for _ in range(5):
        async with window.place() as mark:
            window.crowded(mark)
    assert window.size == 1
    async with asyncio.timeout(1), window.place():
        pass


async def test_places_are_given_in_order_and_first_to_who_comes_back() -> None:
    window, until, order = Window(1), asyncio.Event(), list[str]()

    async def one(name: str, first: bool = False) -> None:
        async with window.place(first=first):
            order.append(name)
            await until.wait()

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(one(name))
        await settle()
        group.create_task(one("back", first=True))
        await settle()
        until.set()
    assert order == ["a", "back", "b", "c"]


@pytest.mark.parametrize("handed", [False, True], ids=["while waiting", "as its turn comes"])
async def test_a_cancelled_waiter_takes_no_place(handed: bool) -> None:
    window = Window(1)
    async with window.place():
        waiter = asyncio.create_task(hold(window, asyncio.Event()))
        await settle()
        if not handed:
            waiter.cancel()
            await settle()
    waiter.cancel()  # where it is not cancelled yet, the place is its own by now
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert window.under_way == 0
    async with asyncio.timeout(1), window.place():
        assert window.under_way == 1


async def test_a_gate_lets_fewer_through_while_the_server_is_crowded() -> None:
    gate = Gate(Limits(concurrency=8))
    under_way = most = 0
    refusals = 1

    async def attempt() -> None:
        nonlocal under_way, most, refusals
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if refusals:
            refusals -= 1
            raise Retryable(Unreachable("429"), 0.001, crowded=True)

    await asyncio.gather(*(gate.run(attempt) for _ in range(8)))
    most, narrowed = 0, gate.window.size
    await asyncio.gather(*(gate.run(attempt) for _ in range(9)))
    assert 4 <= narrowed <= most < 8
    assert gate.repeated == 1
