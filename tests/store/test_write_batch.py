import asyncio
from collections.abc import Sequence

import pytest

from collab.store.write_batch import Batch


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


async def test_jobs_that_fail_together_are_done_one_by_one_where_that_may_help() -> None:
    done: list[int] = []

    async def work(jobs: Sequence[int]) -> int:
        if 2 in jobs:
            raise ValueError("2 does not fit")
        done.extend(jobs)
        return len(jobs)

    batch = Batch(work, lambda: 0.01, lambda error: "fit" in str(error))
    ends = await asyncio.gather(*map(batch, (1, 2, 3)), return_exceptions=True)
    assert [str(end) for end in ends] == ["1", "2 does not fit", "1"]
    assert done == [1, 3]
