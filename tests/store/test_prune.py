"""Only generations that no run needs are removed from a store."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collab.core.sampling import Generation, Request, Sampling
from collab.errors import StoreError
from collab.store.database import Database
from collab.store.database.prune import PrunePlan, find_unneeded, remove
from collab.store.draw_keys import digest_of, key_of
from collab.store.store import Store

PLAIN = Request("plain@1", (1, 2, 3), Sampling(), 16)
STRONG = replace(PLAIN, model="strong@1")
Sql = Callable[..., Awaitable[Any]]  # Any: rows of what the columns hold


async def sample(draws: range) -> list[Generation]:
    return [Generation("3 + 4 = 7", None, "stop", completion_tokens=5) for _ in draws]


async def give(where: str, run: Path | None, request: Request, draws: Iterable[int]) -> None:
    """Request some draws for a run."""
    await asyncio.to_thread((run or Path()).mkdir, exist_ok=True)
    async with Store.open(where, run=run) as store:
        await store.draws(request, draws, sample)


async def prune(
    where: str, really: bool = True, **limits: Any
) -> PrunePlan:  # Any: of find_unneeded()
    database = Database(where)
    try:
        await database.prepare(time.time())
        what = await find_unneeded(database, **limits)
        if really:
            assert sum([count async for count in remove(database, what)]) == what.count
        return what
    finally:
        await database.close()


async def left(where: str, sql: Sql) -> set[tuple[str, int]]:
    """Return the model and draw of all stored generations."""
    rows = await sql(where, "SELECT model, key FROM generations")
    return {(model.partition("@")[0], int.from_bytes(key[16:20])) for model, key in rows}


async def test_what_no_run_was_given_goes_and_the_rest_stays(
    where: str, tmp_path: Path, sql: Sql
) -> None:
    await give(where, None, PLAIN, range(4))
    await give(where, tmp_path / "one", PLAIN, range(2, 6))
    await give(where, tmp_path / "two", STRONG, [0])
    what = await prune(where, really=False)
    assert [(lot.model, lot.count, lot.tokens) for lot in what.lots] == [("plain@1", 2, 10)]
    assert (what.kept, what.runs) == (5, [])
    assert len(await left(where, sql)) == 7
    await prune(where)
    stay = {("plain", draw) for draw in range(2, 6)} | {("strong", 0)}
    assert await left(where, sql) == stay
    assert (await prune(where)).count == 0


async def test_what_a_run_was_given_goes_with_its_folder_unless_another_has_it_too(
    where: str, tmp_path: Path, sql: Sql
) -> None:
    await give(where, tmp_path / "one", PLAIN, range(4))
    await give(where, tmp_path / "two", PLAIN, [3])
    shutil.rmtree(tmp_path / "one")
    what = await prune(where)
    assert [run.endswith("one") for run in what.runs] == [True]
    assert await left(where, sql) == {("plain", 3)}
    assert len(await sql(where, "SELECT * FROM runs")) == 1
    assert len(await sql(where, "SELECT * FROM needs")) == 1


async def test_a_named_run_gives_up_what_it_alone_has_and_nothing_else_goes(
    where: str, tmp_path: Path, sql: Sql
) -> None:
    await give(where, None, STRONG, [0])
    await give(where, tmp_path / "one", PLAIN, range(4))
    await give(where, tmp_path / "two", PLAIN, [3])
    await prune(where, named=[tmp_path / "one"])
    assert await left(where, sql) == {("strong", 0), ("plain", 3)}
    await give(where, tmp_path / "one", PLAIN, range(4))  # the run may still go on
    assert (await prune(where, named=[])).count == 1


async def test_age_and_model_limit_what_goes(where: str, sql: Sql) -> None:
    for request in (PLAIN, STRONG):
        await give(where, None, request, range(2))
    old = key_of(digest_of(PLAIN), 0).partition("-")[0]
    key = f"'\\x{old}00000000'" if "://" in where else f"X'{old}00000000'"
    await sql(where, f"UPDATE generations SET created = 1000 WHERE key = {key}")
    assert (await prune(where, really=False, before=2000.0)).count == 1
    assert (await prune(where, really=False, before=2000.0, model="strong@*")).count == 0
    await prune(where, model="strong@*")
    assert await left(where, sql) == {("plain", 0), ("plain", 1)}
    await prune(where, before=2000.0)
    assert await left(where, sql) == {("plain", 1)}


async def test_more_than_one_statement_may_name_is_removed(
    where: str, tmp_path: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab.store.database.prune.CHUNK", 3)
    await give(where, None, PLAIN, range(20))
    await give(where, tmp_path / "one", PLAIN, range(0, 20, 2))
    await prune(where)
    assert await left(where, sql) == {("plain", draw) for draw in range(0, 20, 2)}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"model": "gpt*"}, r"model 'gpt\*' is not in the store \(models: 'plain@1'\)"),
        ({"named": [Path("elsewhere")]}, r"run '.*elsewhere' is not in the store \(runs: '"),
    ],
)
async def test_what_is_named_must_be_there(
    where: str, tmp_path: Path, limits: dict[str, Any], message: str
) -> None:
    await give(where, tmp_path / "one", PLAIN, [0])
    with pytest.raises(StoreError, match=message):
        await prune(where, **limits)


async def test_a_file_that_was_moved_with_its_runs_still_knows_them(
    tmp_path: Path, sql: Sql
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    await give(str(here / "store.sqlite"), here / "one", PLAIN, [0])
    here.rename(there)
    assert (await prune(str(there / "store.sqlite"))).count == 0


async def test_a_pruned_file_is_smaller(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"

    async def long(draws: range) -> list[Generation]:
        numbers = [tuple(range(draw, draw + 30_000)) for draw in draws]
        return [Generation("", ids, "stop") for ids in numbers]

    async with Store.open(path) as store:
        await store.draws(PLAIN, range(9), long)
    before = path.stat().st_size
    await prune(str(path))
    assert path.stat().st_size < before / 4


async def test_what_a_run_is_served_again_is_not_noted_again(
    where: str, tmp_path: Path, sql: Sql
) -> None:
    await give(where, tmp_path / "one", PLAIN, range(4))
    await give(where, tmp_path / "two", PLAIN, range(4))
    async with Store.open(where, run=tmp_path / "two") as store:
        await sql(where, "DROP TABLE claims")  # whatever writes would miss it
        assert len(await store.draws(PLAIN, range(4), sample)) == 4
