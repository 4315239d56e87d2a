"""Measure the costs of a store with a million generations, of sharing it, and of long runs.

    python benchmarks/store.py [--url postgresql://…]

Compares a batch of 64 lookups, and an insert in a run's usual batches, in stores of 1,000,000 and
10,000 generations; eight processes that request the same draws with a single process; and the
memory and reopening time of runs with 100,000 and 10,000 episodes. Times are CPU times of the
processes that ask. The last line is one JSON object. `--url` names a PostgreSQL database without
tables; the default store is SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from collab.core.boundary import Answer
from collab.core.cost import Rates
from collab.core.sampling import Generation, Request, Sampling
from collab.core.trajectory import Message, Question, Unit
from collab.episode.reasoner import Recorded, Turn, WrittenTurn
from collab.episode.team import Team
from collab.grading import Graders
from collab.policies.solo import Solo
from collab.runs.run import Setup, SilentStages, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.collaboration import Collaboration
from collab.store.database import Database, StoredRow, Transaction
from collab.store.database.packing import pack
from collab.store.database.tables import generations
from collab.store.draw_keys import key_of
from collab.store.store import Store

FEW, MANY = 10_000, 1_000_000
BATCH = 64
"""Callers that share a transaction, as in a run."""
ROUNDS = 40
SHARED = 1_000
"""Draws that all processes request, each in another order."""
PROCESSES = 8
SHORT, LONG = 10_000, 100_000
"""Episodes of a run."""
REQUEST = Request("bench@1", (1, 2, 3), Sampling(), 64)
DRAWN = Generation(
    text=" So there are 12 pens, and 4 of them are red. " * 5,
    ids=tuple(range(400, 460)),
    finish="stop",
    stop_reason="\n\n",
    prompt_tokens=900,
    completion_tokens=60,
    seconds=1.25,
)


async def sample(draws: range) -> list[Generation]:
    return [DRAWN] * len(draws)


Measured = tuple[float, int]
"""CPU time (seconds), and the result of the work: draws sampled, or peak memory (bytes)."""


def in_processes(work: Callable[..., int], *each: tuple[object, ...]) -> list[Measured]:
    """Run `work` in one process for each tuple of arguments, all at the same time."""
    context = get_context("spawn")
    pipes = []
    for arguments in each:
        ours, theirs = context.Pipe()
        context.Process(target=_work, args=(theirs, work, arguments)).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    return [pipe.recv() for pipe in pipes]


def _work(pipe: Connection, work: Callable[..., int], arguments: tuple[object, ...]) -> None:
    pipe.send("ready")
    pipe.recv()
    start = time.process_time()
    result = work(*arguments)
    pipe.send((time.process_time() - start, result))


async def fill(database: Database, count: int) -> None:
    """Insert `count` generations under random keys, which are not requested."""
    body = pack(DRAWN)
    row = {"model": "bench@0", "tokens": 60, "created": 0.0, "served": "", "body": body}
    for start in range(0, count, 20_000):
        rows = [{"key": os.urandom(20), **row} for _ in range(start, min(start + 20_000, count))]
        await database.write(partial(_insert, rows))


def _insert(rows: list[dict[str, object]], connection: sa.Connection) -> None:
    connection.execute(sa.insert(generations), rows)


async def lookups(database: Database, keys: list[str]) -> float:
    """Return the median CPU seconds of a batch of lookups, half of them stored."""
    times = []
    for turn in range(ROUNDS):
        batch = keys[turn * BATCH // 2 : (turn + 1) * BATCH // 2]
        absent = [key_of(os.urandom(16).hex(), 0) for _ in batch]
        start = time.process_time()
        state = await database.look_up([[key] for key in (*batch, *absent)], 0.0)
        times.append(time.process_time() - start)
        assert len(state.found) == len(batch)
    return median(times)


async def inserts(database: Database, keys: list[str]) -> float:
    """Return the median CPU seconds to store one generation and its cost."""
    times = []
    for start in range(0, len(keys), BATCH):
        changes = [
            Transaction(
                keep=(StoredRow(key, "bench@1", DRAWN),), paid=(("main", Rates().cost(DRAWN)),)
            )
            for key in keys[start : start + BATCH]
        ]
        begin = time.process_time()
        await database.commit(changes, time.time(), time.time() + 60)
        times.append((time.process_time() - begin) / len(changes))
    return median(times)


async def sizes(where: str) -> dict[str, float]:
    """Measure a store as it grows."""
    database = Database(where, payer="bench")
    found: dict[str, float] = {}
    try:
        await database.prepare(time.time())
        for size, before in ((FEW, 0), (MANY, FEW)):
            await fill(database, size - before)
            keys = [key_of(os.urandom(16).hex(), 0) for _ in range(ROUNDS * BATCH // 2)]
            found[f"insert {size}"] = await inserts(database, keys)
            found[f"lookup {size}"] = await lookups(database, keys)
            for what in ("insert", "lookup"):
                print(f"{what} with {size:9,} stored  {1e3 * found[f'{what} {size}']:8.3f} ms")
    finally:
        await database.close()
    return found


def ask(where: str, number: int, count: int) -> int:
    """Request every shared draw; return how many were sampled by this process."""

    async def every() -> int:
        requests = [replace(REQUEST, prompt=(number, nth)) for nth in range(SHARED)]
        shift = SHARED * count // PROCESSES
        async with Store.open(where) as store:
            waiting = asyncio.Semaphore(BATCH)

            async def one(request: Request) -> None:
                async with waiting:
                    await store.draws(request, [0], sample)

            await asyncio.gather(*map(one, requests[shift:] + requests[:shift]))
            return store.sampled

    return asyncio.run(every())


def contention(where: str) -> dict[int, float]:
    """Return the CPU seconds per process: of one process, and of eight with the same draws."""
    seconds = {}
    for number, processes in enumerate((1, PROCESSES)):
        measured = in_processes(ask, *((where, number, nth) for nth in range(processes)))
        sampled = sum(draws for _, draws in measured)
        assert sampled == SHARED, f"{sampled} draws were sampled of {SHARED}"
        seconds[processes] = sum(cpu for cpu, _ in measured) / processes
        print(f"{processes} processes, {SHARED:,} draws: {seconds[processes]:.2f} s each")
    return seconds


class Quick(Recorded):
    """A reasoner that writes without a model."""

    async def write(self, turn: Turn) -> WrittenTurn:
        """Write a thought, then an answer."""
        ids = tuple(range(400, 460))
        unit = Unit(turn.seat, DRAWN.text, "generated", phase=turn.phase, ids=ids, tokens=60)
        return WrittenTurn((unit,), "end")


def play(path: Path, episodes: int) -> int:
    """Play a run; return the peak memory (bytes)."""
    questions = [
        Question(f"q{number}", (Message("user", f"What is {number} + 1?"),))
        for number in range(episodes // 10)
    ]
    setup = Setup(
        scenario=Collaboration(samples=10),
        policy=Solo(),
        questions=questions,
        team=Team({"main": Quick()}),
        grader=Graders({}),
        until=Answer(),
        budget=1000,
    )
    with RunFolder.enter(path, {}, {}) as folder:
        result = asyncio.run(run(setup, folder, SilentStages()))
    assert len(result.scores) == episodes
    return _memory()


def reopen(path: Path, episodes: int) -> int:
    """Reopen a finished run; return the peak memory (bytes)."""
    with RunFolder.enter(path, {}, {}) as folder:
        assert len(folder.finished()) == episodes
        assert len(folder.scores()) == episodes
    return _memory()


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def runs(folder: Path) -> dict[str, Measured]:
    """Measure a short run and a long one, each in a process of its own."""
    found = {}
    for episodes in (SHORT, LONG):
        for work in (play, reopen):
            (measured,) = in_processes(work, (folder / str(episodes), episodes))
            found[f"{work.__name__} {episodes}"] = measured
            cpu, peak = measured
            print(f"{work.__name__:6} {episodes:7,} episodes {cpu:7.1f} s {peak / 1e6:6.0f} MB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="an empty PostgreSQL database")
    url = parser.parse_args().url
    with TemporaryDirectory() as folder:
        where = url or str(Path(folder) / "store.sqlite")
        size = asyncio.run(sizes(where))
        shared = contention(where)
        measured = runs(Path(folder))
    found = {
        "lookup_ms_1m": round(1e3 * size[f"lookup {MANY}"], 2),
        "lookup_1m_vs_10k": round(size[f"lookup {MANY}"] / size[f"lookup {FEW}"], 2),
        "insert_us": round(1e6 * size[f"insert {MANY}"]),
        "insert_1m_vs_10k": round(size[f"insert {MANY}"] / size[f"insert {FEW}"], 2),
        "claims_8_processes": round(shared[PROCESSES] / shared[1], 2),
        "memory_100k_vs_10k": round(measured[f"play {LONG}"][1] / measured[f"play {SHORT}"][1], 2),
        "open_100k_s": round(measured[f"reopen {LONG}"][0], 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
