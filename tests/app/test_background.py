import asyncio
import os
import signal
import subprocess
import sys
from contextvars import ContextVar
from threading import Thread

import pytest

from collab.app.background import run_sync

INTERRUPTED = """
import asyncio
from collab.app.background import run_sync

async def wait():
    print("started", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

async def answer():
    return "the loop still runs"

try:
    run_sync(wait())
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(run_sync(answer()), flush=True)
"""
LEFT = """
import asyncio
from collab.app.background import run_sync

async def wait():
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)

async def begin():
    begin.task = asyncio.create_task(wait())
    await asyncio.sleep(0)

run_sync(begin())
"""


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def test_a_coroutine_runs_inside_a_running_loop() -> None:
    assert run_sync(doubled(3)) == 6


def test_a_coroutine_in_the_background_may_run_another_one() -> None:
    async def outer() -> int:
        return run_sync(doubled(4))

    assert run_sync(outer()) == 8


def test_all_threads_share_one_loop() -> None:
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    found = [run_sync(loop())]
    thread = Thread(target=lambda: found.append(run_sync(loop())))
    thread.start()
    thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1


def test_an_error_and_the_callers_context_pass_through() -> None:
    variable = ContextVar("variable", default="")
    variable.set("set by the caller")

    async def fail() -> None:
        raise LookupError(variable.get())

    with pytest.raises(LookupError, match="set by the caller"):
        run_sync(fail())


def test_ctrl_c_cancels_the_coroutine_and_waits_for_its_cleanup() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert rest.splitlines() == ["cleaned up", "interrupted", "the loop still runs"]
    assert process.returncode == 0


def test_at_exit_what_still_runs_is_cancelled_and_nothing_is_printed_about_it() -> None:
    ended = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("cleaned up\n", "")
