"""A run that is killed goes on, and ends as if nothing had happened."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from collab.folder import RunFolder
from collab.scenario import Score

WORDS = (
    "questions.count=4",
    "questions.levels=[easy,middle]",
    "scenario.samples=2",
    "scenario.originals=6",
    "scenario.points=[0.0,0.4]",
    "budget=300",
    "concurrency=2",
    "name=killed",
)


@dataclass(frozen=True)
class Ended:
    """What a run came to."""

    scores: Mapping[str, Score]
    tables: list[str]
    progress: int


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the run in a folder, or go on with it."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "collab", "run", *WORDS],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def progress(folder: Path) -> int:
    """Count the generations in the store and the lines of the episodes' file."""
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/*/episodes.jsonl"))
    store = folder / "runs" / "store.sqlite"
    if not store.exists():
        return lines
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        try:
            return lines + int(database.execute("select count(*) from generations").fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return lines


def stop_at(instant: int, folder: Path, how: signal.Signals) -> subprocess.Popen[str]:
    """Run until there is so much progress, then send a signal."""
    process = start(folder)
    while process.poll() is None and progress(folder) < instant:
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        os.kill(process.pid, how)
    return process


def let_leases_lapse(folder: Path) -> None:
    """Do what time does to the claims of a dead process."""
    store = folder / "runs" / "store.sqlite"
    if store.exists():
        with closing(sqlite3.connect(store)) as database:
            try:
                database.execute("update claims set expires = 0")
                database.commit()
            except sqlite3.OperationalError:  # killed before the tables were made
                return


def finish(folder: Path) -> Ended:
    """Run to the end."""
    with start(folder) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    (manifest,) = folder.glob("runs/*/*/manifest.json")
    lines = out.splitlines()
    tables = lines[next(n for n, line in enumerate(lines) if " · main " in line) : -1]
    return Ended(RunFolder(manifest.parent).scores(), tables, progress(folder))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return finish(tmp_path_factory.mktemp("undisturbed"))


def kill(folder: Path, instants: Iterable[int]) -> int:
    """Kill a run at each instant, and return how often it was not done before."""
    killed = 0
    for instant in instants:
        with stop_at(instant, folder, signal.SIGKILL) as process:
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
        let_leases_lapse(folder)
    return killed


def instants(undisturbed: Ended, times: int) -> list[int]:
    return sorted(random.Random(times).sample(range(undisturbed.progress - 1), times))


def assert_equal(ended: Ended, undisturbed: Ended) -> None:
    assert len(ended.scores) > 12
    assert ended.scores == undisturbed.scores
    assert ended.tables == undisturbed.tables


def test_a_run_killed_twice_and_interrupted_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: Ended
) -> None:
    *first, last = instants(undisturbed, 3)
    assert kill(tmp_path, first) > 0
    with stop_at(last, tmp_path, signal.SIGINT) as process:
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == "interrupted: what was sampled is stored; the same command goes on\n"
    assert_equal(finish(tmp_path), undisturbed)


@pytest.mark.long
def test_a_run_killed_ten_times_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: Ended
) -> None:
    assert kill(tmp_path, instants(undisturbed, 10)) > 5
    assert_equal(finish(tmp_path), undisturbed)
