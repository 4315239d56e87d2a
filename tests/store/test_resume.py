"""Killed runs resume, end as if not interrupted, and sample nothing twice."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.app.model_identity import identity
from collab.config.config import ModelConfig
from collab.core.sampling import Request, Sampling
from collab.pocket.server import PocketBackend
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score
from collab.serving import build_app, serve
from collab.store.database import Database
from collab.store.database.packing import unpack_key
from collab.store.database.tables import generations, spent
from collab.store.draw_keys import digest_of, key_of, seed_of

WORDS = (
    "run",
    "questions.levels=[easy]",
    "scenario.samples=2",
    "scenario.originals=4",
    "budget=200",
    "concurrency=2",
    "name=killed",
    "team.main.launch=null",
)
ONE, OTHER = "scenario.points=[0.0,0.4]", "scenario.points=[0.0,0.7]"
"""What two jobs of a sweep differ in: they share the solo draws and the first point's."""
IDENTITY = identity(ModelConfig(id="pocket/plain", checkpoint="pocket/plain", dtype="float32"))


class Asked:
    """An app that records the store's key of every requested draw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.keys: list[str] = []
        self.hold: Callable[[], bool] = lambda: False
        """Says whether a reply is kept back until whoever asked is gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/completions"):
            await self._app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        self._note(json.loads(b"".join(message.get("body", b"") for message in messages)))
        if self.hold():
            while (await receive())["type"] != "http.disconnect":
                pass
            return

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, again, send)

    def _note(self, body: dict[str, Any]) -> None:  # any: what the client sent
        if body["temperature"] == 0:  # the look that each start takes at its server
            return
        request = Request(
            IDENTITY,
            tuple(body["prompt"]),
            Sampling(**{name: body[name] for name in Sampling.model_fields}),
            body["max_tokens"],
            tuple(body["stop"]),
        )
        draw = body["seed"] - seed_of(request, 0)
        keys = (key_of(digest_of(request), draw + nth) for nth in range(body["n"]))
        self.keys.extend(keys)


@dataclass(frozen=True)
class Ended:
    """The outcome of a job."""

    scores: dict[str, Score]
    tables: list[str]


@dataclass
class Bench:
    """A server, and a way to start jobs that use it."""

    url: str
    asked: Asked
    zygote: subprocess.Popen[str]
    _names: Iterator[int] = field(default_factory=count)
    _ended: dict[int, int] = field(default_factory=dict)

    def start(self, folder: Path, where: str, cell: str, questions: int) -> tuple[int, Path]:
        """Start a job; return its pid and the path of its output."""
        name = f"job{next(self._names)}"
        address = (f"+team.main.base_url={self.url}", f"store.url='{where}'")
        words = [*WORDS, *address, cell, f"questions.count={questions}"]
        (folder / name).with_suffix(".err").touch()  # it may be killed before it has one
        return self._tell("start", words, str(folder), name) or 0, folder / name

    def running(self, pid: int) -> bool:
        """Return whether a job is still running."""
        if (status := self._tell("poll", pid)) is not None:
            self._ended[pid] = status
        return status is None

    def wait(self, pid: int) -> int | None:
        """Return the exit status of a job when it has ended."""
        return self._ended.pop(pid) if pid in self._ended else self._tell("wait", pid)

    def _tell(self, *words: object) -> int | None:
        assert self.zygote.stdin is not None
        assert self.zygote.stdout is not None
        print(json.dumps(words), file=self.zygote.stdin, flush=True)
        answer: int | None = json.loads(self.zygote.stdout.readline())
        return answer

    def settle(self) -> None:
        """Wait until the server has handled all requests that had arrived."""
        for _ in range(3):
            httpx2.get(f"{self.url}/health", trust_env=False)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Serve the plain pocket model, and start a process to fork jobs from."""
    asked = Asked(build_app(PocketBackend()))
    source = (Path(__file__).parent / "zygote.py").read_text()
    forks = [sys.executable, "-c", source]  # no file: the graders' processes would import it
    with (
        serve(asked) as url,
        subprocess.Popen(forks, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zygote,
    ):
        yield Bench(url, asked, zygote)
        assert zygote.stdin is not None
        zygote.stdin.close()


def stored(where: str) -> set[str]:
    """Return the keys of all generations in a store."""

    async def read() -> set[str]:
        database = Database(where)
        try:
            await database.prepare(time.time())
            every = sa.select(generations.c.key)
            return set(map(unpack_key, await database.read(lambda c: c.scalars(every).all())))
        finally:
            await database.close()

    return asyncio.run(read())


def paid(where: str) -> tuple[int, int]:
    """Return the number of draws that all runs of a store have paid for, and their tokens."""
    return _counts(where, sa.select(*map(sa.func.sum, (spent.c.draws, spent.c.completion))))


def held(where: str) -> tuple[int, int]:
    """Return the number of generations in a store, and their tokens."""
    return _counts(where, sa.select(sa.func.count(), sa.func.sum(generations.c.tokens)))


def _counts(where: str, counted: sa.Select[Any, Any]) -> tuple[int, int]:  # Any: sums of columns
    async def read() -> tuple[int, int]:
        database = Database(where)
        try:
            await database.prepare(time.time())
            draws, tokens = await database.read(lambda c: c.execute(counted).one())
            return int(draws or 0), int(tokens or 0)
        finally:
            await database.close()

    return asyncio.run(read())


@dataclass
class Sweep:
    """The jobs of a sweep, with their own folder and store."""

    bench: Bench
    folder: Path
    where: str
    cells: Sequence[str]
    questions: int

    @property
    def progress(self) -> int:
        """Return the number of requested draws and of finished episodes."""
        files = self.folder.glob("runs/*/*/episodes.jsonl")
        lines = sum(path.read_bytes().count(b"\n") for path in files)
        return len(set(self.bench.asked.keys)) + lines

    def stop(
        self, instant: int, how: signal.Signals = signal.SIGKILL
    ) -> list[tuple[int | None, str]]:
        """Start all jobs, send them a signal at some progress; return status and errors of each.

        Replies are held back, so that no job runs far beyond that progress before it is killed.
        """
        self.bench.asked.hold = lambda: how is signal.SIGKILL and self.progress > instant
        jobs = [self.bench.start(self.folder, self.where, c, self.questions) for c in self.cells]
        while self.progress < instant and self.bench.running(jobs[0][0]):
            time.sleep(0.005)
        for pid, _ in jobs:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        ended = [(self.bench.wait(pid), out.with_suffix(".err").read_text()) for pid, out in jobs]
        self.bench.settle()
        self.bench.asked.hold = lambda: False
        return ended

    def run(self) -> list[tuple[int | None, str]]:
        """Run all jobs until they end; return status and errors of each."""
        jobs = [self.bench.start(self.folder, self.where, c, self.questions) for c in self.cells]
        return [(self.bench.wait(pid), out.with_suffix(".err").read_text()) for pid, out in jobs]

    def finish(self) -> list[Ended]:
        """Run all jobs, which must succeed."""
        jobs = [self.bench.start(self.folder, self.where, c, self.questions) for c in self.cells]
        ended = [(self.bench.wait(pid), out.with_suffix(".err").read_text()) for pid, out in jobs]
        assert ended == [(0, "")] * len(jobs)
        return [self._ended(out.with_suffix(".out")) for _, out in jobs]

    def _ended(self, out: Path) -> Ended:
        *lines, last = out.read_text().splitlines()
        begin = next(number for number, line in enumerate(lines) if " · main " in line)
        end = next(number for number, line in enumerate(lines) if line.startswith("see it: "))
        path = self.folder / last.rpartition(", ")[2]
        tables = [
            line for line in lines[begin:end] if " has sampled: " not in line
        ]  # with its time
        return Ended(RunFolder(path).scores(), tables)


def play_and_kill(sweep: Sweep, kills: int, interrupt: bool = False) -> None:
    """Compare a sweep that is killed repeatedly with an uninterrupted one."""
    asked, folder = sweep.bench.asked, sweep.folder
    calm = Sweep(
        sweep.bench, folder / "calm", str(folder / "calm.sqlite"), sweep.cells, sweep.questions
    )
    calm.folder.mkdir()
    asked.keys.clear()
    undisturbed = calm.finish()
    needed, steps = set(asked.keys), calm.progress
    assert len(asked.keys) == len(needed)
    assert stored(calm.where) == needed
    asked.keys.clear()
    sweep = replace(sweep, folder=folder / "killed")
    sweep.folder.mkdir()
    killed, there = 0, stored(sweep.where)
    for instant in sorted(random.Random(kills).sample(range(steps - 1), kills)):
        mark = len(asked.keys)
        statuses = [status for status, _ in sweep.stop(instant)]
        assert set(statuses) <= {-signal.SIGKILL, 0}
        killed += statuses.count(-signal.SIGKILL)
        leg = asked.keys[mark:]
        assert len(set(leg)) == len(leg)
        assert there.isdisjoint(leg)
        there = stored(sweep.where)
        assert paid(sweep.where) == held(sweep.where)
    assert killed > kills * len(sweep.cells) / 2
    if interrupt:
        [(status, said)] = sweep.stop(sweep.progress + 2, signal.SIGINT)
        assert status == 130
        assert said == "interrupted: what was sampled is stored; the same command continues\n"
        there = stored(sweep.where)
    mark = len(asked.keys)
    assert sweep.finish() == undisturbed
    assert there.isdisjoint(asked.keys[mark:])
    assert set(asked.keys) == needed == stored(sweep.where)


def test_a_run_killed_and_interrupted_ends_as_an_undisturbed_one(
    bench: Bench, tmp_path: Path
) -> None:
    place = str(tmp_path / "store.sqlite")
    play_and_kill(Sweep(bench, tmp_path, place, [ONE], 2), kills=1, interrupt=True)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_jobs_killed_a_hundred_times_end_as_undisturbed_ones(
    bench: Bench, tmp_path: Path, where: str
) -> None:
    play_and_kill(Sweep(bench, tmp_path, where, [ONE, OTHER], 8), kills=50)


def kill_below_a_cap(sweep: Sweep, kills: int, steps: int) -> None:
    """Kill a run with a cap repeatedly; it has spent what the store holds, up to the cap."""
    sweep.bench.asked.keys.clear()
    statuses = []
    for instant in sorted(random.Random(kills).sample(range(steps), kills)):
        statuses += [status for status, _ in sweep.stop(instant)]
        assert paid(sweep.where) == held(sweep.where)
    assert statuses.count(-signal.SIGKILL) > kills / 2
    draws, tokens = paid(sweep.where)
    cap = tokens + 1
    [(status, said)] = replace(sweep, cells=[f"caps.tokens={cap}"]).run()
    assert status == 1
    assert f"caps.tokens={cap} is reached" in said
    more, all_tokens = paid(sweep.where)
    assert (more, all_tokens) == held(sweep.where)
    assert 0 < more - draws <= 4  # two at once, and one who was let go for each
    [spent_file] = sweep.folder.glob("runs/*/*/spent.json")
    assert json.loads(spent_file.read_text())["main"]["completion"] == all_tokens


def test_a_run_killed_again_and_again_knows_what_it_spent(bench: Bench, tmp_path: Path) -> None:
    place = str(tmp_path / "store.sqlite")
    kill_below_a_cap(Sweep(bench, tmp_path, place, ["caps.tokens=100000"], 2), kills=4, steps=14)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_killed_thirty_times_knows_what_it_spent(
    bench: Bench, tmp_path: Path, where: str
) -> None:
    kill_below_a_cap(Sweep(bench, tmp_path, where, ["caps.tokens=100000"], 8), kills=30, steps=90)
