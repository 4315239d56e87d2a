import asyncio
from collections.abc import Sequence

import pytest

from collab.batch import Batch


@pytest.mark.parametrize(("pause", "groups"), [(0.0, [[1], [2]]), (0.01, [[1, 2]])])
async def test_a_go_that_lingers_takes_along_what_comes_a_moment_later(
    pause: float, groups: list[list[int]]
) -> None:
    done: list[list[int]] = []

    async def work(jobs: Sequence[int]) -> None:
        done.append([*jobs])

    batch = Batch(work, lambda: pause)

    async def later() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await batch(2)

    await asyncio.gather(batch(1), later())
    assert done == groups


async def test_a_batch_that_is_closed_does_not_linger() -> None:
    done: list[int] = []

    async def work(jobs: Sequence[int]) -> None:
        done.extend(jobs)

    batch = Batch(work, lambda: 3600.0 if not done else 0.0)
    batch.post(1)
    await batch.close()
    assert done == [1]
