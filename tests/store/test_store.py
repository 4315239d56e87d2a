import asyncio
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collab.database.packing import unpack, unpack_key
from collab.database.place import network_mount
from collab.draws import digest_of, key_of
from collab.errors import StoreError
from collab.sampling import Generation, Request, Sampling
from collab.store import Store

REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16, stop=("\n\n",))


class Sampler:
    """Counts what it is asked for; waits for `gate` where there is one."""

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
    tmp_path: Path,
) -> None:
    async with Store.open(tmp_path / "runs" / "store.sqlite") as store:
        first = Sampler()
        await store.draws(REQUEST, [2], first)
        second = Sampler()
        drawn = await store.draws(REQUEST, [5, 0, 1, 2, 3, 1], second)
    assert _texts(drawn) == ["draw 5", "draw 0", "draw 1", "draw 2", "draw 3", "draw 1"]
    assert [one.fresh for one in drawn] == [True, True, True, False, True, True]
    assert sorted(second.asked, key=str) == [range(0, 2), range(3, 4), range(5, 6)]
    assert (store.sampled, store.served) == (5, 1)


@pytest.mark.parametrize(
    "generation",
    [
        Generation("", None, "abort"),
        Generation("nul \x00, half \ud83d, whole 😀", (), "length"),
        Generation("x = 3.\n\n", (0, 2**32 - 1), "stop", 151643, 10, 2, 8, 0.1 + 0.2, 1 / 3),
        Generation("x = 3.\n\n", (7,), "stop", "\n\n", 10, 1, None, None, 0.5),
    ],
)
async def test_a_generation_comes_back_as_it_was(tmp_path: Path, generation: Generation) -> None:
    async def sample(_: range) -> list[Generation]:
        return [generation]

    expected = replace(generation, key=key_of(digest_of(REQUEST), 4))
    for fresh in (True, False):
        async with Store.open(tmp_path / "store.sqlite") as store:
            [drawn] = await store.draws(REQUEST, [4], sample)
        assert (drawn.generation, drawn.fresh) == (expected, fresh)


async def test_a_second_run_samples_nothing(tmp_path: Path) -> None:
    for sampled, served in ((8, 0), (0, 8)):
        async with Store.open(str(tmp_path / "store.sqlite")) as store:
            await store.draws(REQUEST, range(8), Sampler())
        assert (store.sampled, store.served) == (sampled, served)


async def test_other_requests_have_their_own_draws(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "store.sqlite") as store:
        await store.draws(REQUEST, [0], Sampler())
        other = Sampler()
        await store.draws(replace(REQUEST, replicate=1), [0], other)
    assert other.asked == [range(0, 1)]


async def test_tasks_that_ask_for_the_same_draws_share_one_sample(tmp_path: Path) -> None:
    sampler = Sampler(gate=asyncio.Event())
    async with Store.open(tmp_path / "store.sqlite") as store, asyncio.TaskGroup() as group:
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


async def test_overlapping_askers_wait_for_each_other_without_a_deadlock(tmp_path: Path) -> None:
    sampler = Sampler()
    async with Store.open(tmp_path / "store.sqlite") as store, asyncio.TaskGroup() as group:
        for turn in range(20):
            asked = [(turn + step * 7) % 20 for step in range(10)]
            group.create_task(store.draws(REQUEST, asked, sampler))
    assert sorted(draw for one in sampler.asked for draw in one) == list(range(20))


async def test_a_failing_sampler_is_its_callers_and_the_next_waiter_samples(tmp_path: Path) -> None:
    begun, gate, good = asyncio.Event(), asyncio.Event(), Sampler()

    async def bad(draws: range) -> list[Generation]:
        begun.set()
        await gate.wait()
        return await _broken(draws)

    async with Store.open(tmp_path / "store.sqlite") as store:
        first = asyncio.create_task(store.draws(REQUEST, [0], bad))
        await begun.wait()
        second = asyncio.create_task(store.draws(REQUEST, [0], good))
        gate.set()
        with pytest.raises(RuntimeError, match="no server"):
            await first
        assert _texts(await second) == ["draw 0"]
    assert good.asked == [range(0, 1)]


async def test_what_one_range_gave_is_kept_when_another_fails(tmp_path: Path) -> None:
    good = Sampler()

    async def half(draws: range) -> list[Generation]:
        return await (good if draws.start else _broken)(draws)

    async with Store.open(tmp_path / "store.sqlite") as store:
        with pytest.raises(RuntimeError, match=r"range\(0, 2\)"):
            await store.draws(REQUEST, [0, 1, 4, 5], half)
        again = Sampler()
        await store.draws(REQUEST, range(6), again)
    assert again.asked == [range(0, 4)]


async def test_a_cancelled_caller_gives_up_its_claims_to_those_who_wait(tmp_path: Path) -> None:
    slow, good = Sampler(gate=asyncio.Event()), Sampler()
    async with Store.open(tmp_path / "store.sqlite") as store:
        first = asyncio.create_task(store.draws(REQUEST, range(3), slow))
        await slow.begun.wait()
        second = asyncio.create_task(store.draws(REQUEST, range(3), good))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
    assert good.asked == [range(0, 3)]
    assert _rows(tmp_path, "claims") == []


async def test_a_draw_is_kept_as_it_comes_though_the_others_of_its_range_fail(
    tmp_path: Path,
) -> None:
    first = Sampler()

    async def one_each(draws: range) -> list[Generation]:
        if draws.start == 2:
            return await _broken(draws)
        return (await first(draws))[:1]

    async with Store.open(tmp_path / "store.sqlite") as store:
        with pytest.raises(RuntimeError, match=r"range\(2, 3\)"):
            await store.draws(REQUEST, range(4), one_each)
        assert first.asked == [range(0, 4), range(1, 2), range(3, 4)]
        assert store.sampled == 3
        again = Sampler()
        await store.draws(REQUEST, range(4), again)
    assert again.asked == [range(2, 3)]


async def test_draws_that_are_not_to_be_had_jointly_are_asked_for_side_by_side(
    tmp_path: Path,
) -> None:
    sampler = Sampler(gate=asyncio.Event())
    async with Store.open(tmp_path / "store.sqlite") as store:
        task = asyncio.create_task(store.draws(REQUEST, range(3), sampler, jointly=False))
        await sampler.begun.wait()
        assert sampler.asked == [range(0, 1), range(1, 2), range(2, 3)]
        assert sampler.gate is not None
        sampler.gate.set()
        assert _texts(await task) == ["draw 0", "draw 1", "draw 2"]


@pytest.mark.parametrize("given", [0, 3])
async def test_a_sampler_that_returns_no_draw_or_too_many_is_an_error(
    tmp_path: Path, given: int
) -> None:
    async def odd(draws: range) -> list[Generation]:
        return await Sampler()(range(given))

    async with Store.open(tmp_path / "store.sqlite") as store:
        with pytest.raises(StoreError, match=f"{given} generations were sampled for the 2 draws"):
            await store.draws(REQUEST, [0, 1], odd)


async def test_a_stopped_draw_is_kept_and_never_served(tmp_path: Path) -> None:
    part = Generation("dra", (1,), "cancelled", prompt_tokens=3, completion_tokens=1)
    async with Store.open(tmp_path / "store.sqlite") as store:
        name = store.keep_partial(REQUEST, 0, part)
        sampler = Sampler()
        assert _texts(await store.draws(REQUEST, [0], sampler)) == ["draw 0"]
        assert sampler.asked == [range(0, 1)]
    kept = {unpack_key(row[0]): row for row in _rows(tmp_path, "generations")}
    assert name.startswith(key_of(digest_of(REQUEST), 0))
    assert kept.keys() == {name, key_of(digest_of(REQUEST), 0)}
    assert unpack(kept[name][-1], name) == replace(part, key=name)


async def test_a_stopped_draw_that_cannot_be_kept_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store.open(tmp_path / "store.sqlite") as store:
        with sqlite3.connect(tmp_path / "store.sqlite") as other:
            other.execute("DROP TABLE generations")
        other.close()
        store.keep_partial(REQUEST, 0, Generation("dra", (1,), "cancelled"))
    assert "a stopped draw could not be kept" in caplog.text


async def test_a_dead_owners_claim_is_taken_over_when_its_lease_has_run_out(tmp_path: Path) -> None:
    now = [1000.0]
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        if seconds > 1:
            await asyncio.Event().wait()  # the heartbeat
        waits.append(seconds)
        now[0] += 6

    dead = Sampler(gate=asyncio.Event())
    async with Store.open(tmp_path / "store.sqlite", clock=lambda: now[0], lease=60) as store:
        task = asyncio.create_task(store.draws(REQUEST, [0], dead))
        await dead.begun.wait()
        async with Store.open(tmp_path / "store.sqlite", clock=lambda: now[0], pause=pause) as heir:
            drawn = await heir.draws(REQUEST, [0], Sampler())
            assert dead.gate is not None
            dead.gate.set()
            [late] = await task
    assert drawn[0].fresh
    assert len(waits) == 11
    assert waits == sorted(waits)
    assert late.generation == drawn[0].generation


async def test_a_living_owner_keeps_its_claim_past_the_lease(tmp_path: Path) -> None:
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
    path = tmp_path / "store.sqlite"
    async with (
        Store.open(path, clock=lambda: now[0], pause=heart) as owner,
        Store.open(path, clock=lambda: now[0], pause=pause) as waiter,
    ):
        first = asyncio.create_task(owner.draws(REQUEST, [0], slow))
        await slow.begun.wait()
        [drawn] = await waiter.draws(REQUEST, [0], other)
        await first
    assert not drawn.fresh
    assert other.asked == []


PROGRAM = """
import asyncio, sys
from collab.sampling import Generation, Request, Sampling
from collab.store import Store

REQUEST = Request("pocket@1", (1, 2, 3), Sampling(), 16, stop=("\\n\\n",))

def tell(word):
    print(word, flush=True)

async def hear():
    return await asyncio.to_thread(sys.stdin.readline)

async def sample(draws):
    return [Generation(f"draw {draw}", None, "stop") for draw in draws]
"""


def _start(path: Path, body: str) -> subprocess.Popen[str]:
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    program = f"{PROGRAM}\nasync def main():\n{indented}\nasyncio.run(main())\n"
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.strip()


def _rows(folder: Path, table: str) -> list[Any]:  # Any: tuples of what the columns hold
    connection = sqlite3.connect(folder / "store.sqlite")
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        connection.close()


def test_a_process_waits_for_the_draw_that_another_one_is_sampling(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    owner = _start(
        path,
        """
async def slow(draws):
    tell("sampling")
    await hear()
    return await sample(draws)

async with Store.open(sys.argv[1]) as store:
    await store.draws(REQUEST, range(4), slow)
    tell(store.sampled)
""",
    )
    assert _hear(owner) == "sampling"
    waiter = _start(
        path,
        """
told = []

async def pause(seconds):
    if not told and seconds < 1:
        told.append(tell("waiting"))
    await asyncio.sleep(seconds)

async with Store.open(sys.argv[1], pause=pause) as store:
    drawn = await store.draws(REQUEST, range(4), sample)
    tell([store.sampled, store.served, [one.generation.text for one in drawn]])
""",
    )
    assert _hear(waiter) == "waiting"
    _tell(owner)
    assert _finish(owner) == "4"
    said = json.loads(_finish(waiter).replace("'", '"'))
    assert said == [0, 4, ["draw 0", "draw 1", "draw 2", "draw 3"]]


def test_processes_that_race_sample_each_draw_once(tmp_path: Path) -> None:
    body = """
tell("ready")
await hear()
async with Store.open(sys.argv[1]) as store, asyncio.TaskGroup() as group:
    for start in range(40):
        group.create_task(store.draws(REQUEST, range(start, start + 3), sample))
tell(store.sampled)
"""
    racers = [_start(tmp_path / "store.sqlite", body) for _ in range(3)]
    assert [_hear(racer) for racer in racers] == ["ready"] * 3
    for racer in racers:
        _tell(racer)
    assert sum(int(_finish(racer)) for racer in racers) == 42
    assert len(_rows(tmp_path, "generations")) == 42
    assert _rows(tmp_path, "claims") == []


async def test_what_a_killed_process_had_committed_is_served_and_the_rest_free_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.sqlite"
    process = _start(
        path,
        """
async def some(draws):
    if draws.start == 4:
        tell("sampling")
        await asyncio.Event().wait()
    return await sample(draws)

async with Store.open(sys.argv[1]) as store:
    await store.draws(REQUEST, range(4), some)
    await store.draws(REQUEST, range(8), some)
""",
    )
    assert _hear(process) == "sampling"
    process.kill()
    process.communicate()
    again = Sampler()

    async def heartbeat_alone(seconds: float) -> None:
        assert seconds > 1, "it waits for a process that is no more"
        await asyncio.Event().wait()

    async with Store.open(path, pause=heartbeat_alone) as store:
        await store.draws(REQUEST, range(8), again)
    assert again.asked == [range(4, 8)]
    assert (store.sampled, store.served) == (4, 4)


async def test_a_disk_that_refuses_a_write_stops_the_caller_and_keeps_the_rest(
    tmp_path: Path,
) -> None:
    process = _start(
        tmp_path / "store.sqlite",
        """
import os, resource
from collab.errors import StoreError

async def big(draws):
    return [Generation(os.urandom(1_000_000).hex(), None, "stop") for draw in draws]

async with Store.open(sys.argv[1]) as store:
    await store.draws(REQUEST, range(4), sample)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        await store.draws(REQUEST, range(8), big)
    except StoreError as error:
        tell(error)
""",
    )
    assert "what was committed stays" in _finish(process)
    async with Store.open(tmp_path / "store.sqlite") as store:
        await store.draws(REQUEST, range(4), Sampler())
    assert store.served == 4


async def _open(where: str | Path) -> None:
    async with Store.open(where):
        pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"not a database; set store\.url to another path"):
        await _open(path)
    assert path.read_text().startswith("notes")


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="cannot use the store"):
        await _open(tmp_path / "runs" / "store.sqlite")


async def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    await _open(tmp_path / "store.sqlite")
    url = f"sqlite+aiosqlite:///file:{tmp_path}/store.sqlite?mode=ro&uri=true"
    with pytest.raises(StoreError, match="make the file and its folder writable"):
        await _open(url)


async def test_a_url_that_nothing_can_read_is_refused() -> None:
    with pytest.raises(StoreError, match="nonsense"):
        await _open("nonsense://somewhere")


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "store.sqlite") as store:
        pass
    with pytest.raises(StoreError, match="the store is closed"):
        await store.draws(REQUEST, [0], Sampler())


async def test_a_cancelled_loop_ends_and_its_claims_are_gone(tmp_path: Path) -> None:
    sampler = Sampler(gate=asyncio.Event())

    async def run() -> None:
        async with Store.open(tmp_path / "store.sqlite") as store, asyncio.TaskGroup() as group:
            for turn in range(5):
                group.create_task(store.draws(REQUEST, [turn], sampler))

    task = asyncio.create_task(run())
    await sampler.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _rows(tmp_path, "claims") == []


MOUNTS = """\
/dev/sda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/ada/local\\040disk ext4 rw 0 0
mds@tcp:/scratch /scratch lustre rw 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/store.sqlite", None),
        ("/homework/store.sqlite", None),
        ("/home/ada/store.sqlite", "nfs4 at /home"),
        ("/home/ada/local disk/store.sqlite", None),
        ("/scratch/store.sqlite", "lustre at /scratch"),
        ("/mnt/far/store.sqlite", "fuse.sshfs at /mnt/far"),
    ],
)
def test_network_file_systems_are_found_by_name(path: str, found: str | None) -> None:
    assert network_mount(Path(path), MOUNTS) == found
