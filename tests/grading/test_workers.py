"""Processes that can be killed: what happens to their calls, and to nobody else's."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from collab.errors import GradingError
from collab.grading.workers import WorkerLimits, Workers, WorkerStopped
from tests.grading.processes import children, descendants

CAPS = WorkerLimits(seconds=0.3, wall=120, memory=2**30)

SCRIPT = r"""
import asyncio
from collab.grading.maths import MathsGrader

async def main():
    async with MathsGrader() as grader:
        print((await grader.compare("1/2", r"\boxed{0.5}")).verdict)

print("begin")
asyncio.run(main())
"""


def echo(word: object) -> object:
    """Return it."""
    return word


def act(deed: str) -> object:
    """Do what a hostile answer may bring a process to."""
    match deed:
        case "spin":
            while True:
                pass
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(600)
        case "raise":
            raise ValueError("no")
        case "parent":
            return os.getppid()
        case "hog":
            return len(bytearray(2**31))
    return os.getpid()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers() -> AsyncIterator[Workers[object]]:
    workers = Workers(1, act, CAPS, [__name__])
    yield workers
    await workers.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_that_computes_too_long_is_stopped_and_the_next_one_answered(
    workers: Workers[object],
) -> None:
    spinning, next_one = (asyncio.create_task(workers.call(deed)) for deed in ("spin", "pid"))
    with pytest.raises(WorkerStopped, match=f"exit code -{int(signal.SIGPROF)}"):
        await spinning
    assert isinstance(await next_one, int)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_process_lives_as_long_as_its_calls_are_well(workers: Workers[object]) -> None:
    first = await workers.call("pid")
    with pytest.raises(ValueError, match="no"):
        await workers.call("raise")
    assert await workers.call("pid") == first


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_that_kills_its_process_is_tried_twice(workers: Workers[object]) -> None:
    with pytest.raises(WorkerStopped, match="twice"):
        await workers.call("die")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_process_killed_from_outside_is_replaced(workers: Workers[object]) -> None:
    pid = await workers.call("pid")
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    assert await workers.call("pid") != pid


@pytest.mark.asyncio(loop_scope="module")
async def test_what_forks_the_processes_may_end_too(workers: Workers[object]) -> None:
    first = await workers.call("parent")
    assert isinstance(first, int)
    with pytest.raises(WorkerStopped):
        await workers.call("spin")
    os.kill(first, signal.SIGKILL)
    assert await workers.call("parent") != first


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.skipif(sys.platform != "linux", reason="address space is capped on Linux alone")
async def test_a_call_that_wants_too_much_memory_fails_and_its_process_lives(
    workers: Workers[object],
) -> None:
    first = await workers.call("pid")
    with pytest.raises(MemoryError):
        await workers.call("hog")
    assert await workers.call("pid") == first


async def test_a_call_that_only_waits_is_stopped_too() -> None:
    workers = Workers(1, act, WorkerLimits(60, 0.2, 2**30), [__name__])
    with pytest.raises(WorkerStopped, match=r"more than 0\.2 s"):
        await workers.call("sleep")
    await workers.close()


async def test_processes_that_cannot_start_are_an_error() -> None:
    workers = Workers(1, echo, WorkerLimits(1, 1, "much"), [__name__])  # type: ignore[arg-type]  # the fault
    with pytest.raises(GradingError, match="ended 5 times while they started"):
        await workers.call("hello")
    await workers.close()


def test_a_script_that_guards_nothing_grades_and_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True)
    assert (done.stdout, done.stderr) == (b"begin\ncorrect\n", b"")


def test_nothing_is_imported_from_the_folder_that_a_script_is_run_in(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/script.py").write_text(SCRIPT)
    for name in ("math_verify", "signal", "collab"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    command = [sys.executable, "scripts/script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert (done.stdout, done.stderr) == (b"begin\ncorrect\n", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="its parent's death is told on Linux alone")
def test_a_computation_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    script = SCRIPT.replace(r"\boxed{0.5}", r"\boxed{9^{9^{9^{9}}}}").replace(
        "MathsGrader()", "MathsGrader(MathsSettings(seconds=600))"
    )
    script = script.replace("import MathsGrader", "import MathsGrader, MathsSettings")
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "script.py"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        while not descendants(process.pid) - children(process.pid) - {process.pid}:
            pass
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == b""  # to its end: nobody is left who could write to it
