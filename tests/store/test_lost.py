"""A store that disappears during a run: all is saved that can be, and losses are reported."""

import asyncio
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from collab.core.cost import Account
from collab.core.sampling import Generation, Request, Sampling
from collab.errors import RunError, StoreError
from collab.store.database.place import name_of, url_of
from collab.store.store import Store
from tests.store.test_processes import working

REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16)


async def sample(draws: range) -> list[Generation]:
    return [Generation(f"draw {draw}", None, "stop") for draw in draws]


async def never(draws: range) -> list[Generation]:
    raise AssertionError(f"{draws} was sampled again")


async def lose(where: Path, how: Callable[[], object], draws: int = 6) -> str:
    """Sample some draws, change the store's file, sample more; return the error's text."""

    async def lost() -> None:
        async with Store.open(where) as store:
            await store.draws(REQUEST, range(3), sample)
            how()
            if draws:
                await store.draws(REQUEST, range(draws), sample)

    with pytest.raises(StoreError) as caught:
        await lost()
    return str(caught.value)


@pytest.mark.parametrize("draws", [3, 6])
async def test_a_store_deleted_while_it_is_in_use_is_told_of_and_saved(
    tmp_path: Path, draws: int
) -> None:
    where = tmp_path / "store.sqlite"
    said = await lose(where, where.unlink, draws)
    assert said.startswith(f"the store {where} was deleted while it was in use; its whole")
    saved = tmp_path / "store.sqlite.saved"
    assert f"content is saved as {saved}: move that to its place, and start again" in said
    assert os.listdir(tmp_path) == [saved.name]
    saved.rename(where)
    async with Store.open(where) as store:
        await store.draws(REQUEST, range(3), never)


async def test_a_store_deleted_after_the_last_draw_is_told_of_at_the_end(tmp_path: Path) -> None:
    where = tmp_path / "store.sqlite"
    assert "was deleted while it was in use" in await lose(where, where.unlink, draws=0)


async def test_a_store_replaced_by_another_file_is_told_of(tmp_path: Path) -> None:
    where, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    async with Store.open(other):
        pass
    assert "was replaced by another file" in await lose(where, lambda: other.replace(where))


async def test_a_store_whose_folder_is_gone_is_told_of(tmp_path: Path) -> None:
    where = tmp_path / "runs" / "store.sqlite"
    said = await lose(where, lambda: shutil.rmtree(where.parent))
    assert "was deleted while it was in use; its content could not be saved" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "name", ["", ":memory:", pytest.param("sqlite+pysqlite://", id="URL without a file")]
)
async def test_a_store_that_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match=r"set it to a path, such as runs/store\.sqlite"):
        async with Store.open(name):
            pass


async def test_a_file_that_is_no_store_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="it is not a database"):
        async with Store.open(tmp_path / "notes.txt"):
            pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


async def test_an_error_says_how_many_of_the_draws_are_safe(where: str) -> None:
    async def fail() -> None:
        async with Store.open(where) as store:
            await store.draws(REQUEST, range(3), sample)
            raise RunError("cannot write")

    for note in ("all 3 draws sampled by this start are in the store", "nothing was sampled"):
        with pytest.raises(RunError) as caught:
            await fail()
        assert caught.value.__notes__[0].startswith(note)


async def crowded(where: str, pipe: Connection) -> None:
    """Store a big draw and small ones at once, with room only for the small ones."""

    async def big(draws: range) -> list[Generation]:
        return [Generation(os.urandom(1_000_000).hex(), None, "stop")]

    account = Account(seat="main")
    try:
        async with Store.open(where, payer="one") as store:
            await store.draws(REQUEST, [0], sample, account=account)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            asked = [replace(REQUEST, replicate=number) for number in range(1, 9)]
            samplers = [big if one.replicate == 4 else sample for one in asked]
            ends = await asyncio.gather(
                *(
                    store.draws(one, [0], sampler, account=account)
                    for one, sampler in zip(asked, samplers, strict=True)
                ),
                return_exceptions=True,
            )
            raise next(end for end in ends if isinstance(end, BaseException))
    except StoreError as error:
        pipe.send([str(error), *error.__notes__])


async def test_what_finds_no_room_takes_nothing_else_along(tmp_path: Path) -> None:
    where = str(tmp_path / "store.sqlite")
    with working(crowded, where) as (_, pipe):
        said, note = await asyncio.to_thread(pipe.recv)
    assert "committed draws are kept" in said
    assert note == "of 9 draws sampled by this start 1 are lost"
    async with Store.open(where, payer="one") as store:
        for replicate in (0, 1, 2, 3, 5, 6, 7, 8):
            await store.draws(replace(REQUEST, replicate=replicate), [0], never)
        assert (await store.spent())["main"].draws == 8


async def test_a_database_that_is_away_at_the_start_is_waited_for(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, told, pauses = postgres.place(), list[str](), list[float]()

    async def resume(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            await asyncio.to_thread(postgres.resume)

    postgres.stop()
    with monkeypatch.context() as patch:
        patch.setattr("collab.store.database.asyncio.sleep", resume)
        async with Store.open(where, notify=told.append) as store:
            patch.undo()
            await store.draws(REQUEST, range(3), sample)
    assert pauses == [0.1, 0.4, 1.0]
    assert {line for line in told if line} == {f"waiting for the store {name_of(url_of(where))}"}
    assert told[-1] == ""


async def test_a_database_that_stays_away_is_one_line(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, pauses = postgres.place(), list[float]()

    async def wait(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("collab.store.database.asyncio.sleep", wait)
    nowhere = where.replace("host=", "host=/nowhere")
    with pytest.raises(StoreError, match=r"No such file.*; start the server, or correct") as caught:
        async with Store.open(nowhere):
            pass
    assert len(pauses) == 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        (("@/postgres", "@/nonsense"), "createdb"),
        (("://store_", "://nobody_"), "createuser"),
    ],
)
async def test_a_wrong_name_is_not_waited_for(
    postgres: Any, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, str], fix: str
) -> None:
    async def wait(seconds: float) -> None:
        raise AssertionError("waited")

    monkeypatch.setattr("collab.store.database.asyncio.sleep", wait)
    with pytest.raises(StoreError, match=fix):
        async with Store.open(postgres.place().replace(*wrong)):
            pass
