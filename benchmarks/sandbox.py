"""Measure how many programs per second run in sandboxes, and how many are graded by their tests.

    python benchmarks/sandbox.py [--seconds 10]

The last line is one JSON object: `sandbox_per_s`, empty programs in sandboxes; `judged_per_s`,
programs graded by their tests; `plain_ratio`, the ratio of the former to plain processes of the
interpreter in the same run; `loop_block_ms`, the longest time for which the event loop was blocked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count

from collab.core.trajectory import Checks, Question
from collab.grading.code import CodeGrader, CodeSettings
from collab.sandbox.bubblewrap import Bubblewrap

TICK = 0.002


async def rate(work: Callable[[int], Awaitable[object]], seconds: float, workers: int) -> float:
    """Return how often `work` is done per second by concurrent workers."""
    numbers, start = count(), time.perf_counter()

    async def repeat() -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            await work(next(numbers))
            done += 1
        return done

    done = sum(await asyncio.gather(*(repeat() for _ in range(workers))))
    return done / (time.perf_counter() - start)


async def longest_wait(stop: asyncio.Event) -> float:
    """Return the longest time for which the event loop was blocked until `stop` (milliseconds)."""
    longest = 0.0
    while not stop.is_set():
        start = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - start - TICK)
    return 1000 * longest


async def plain(nth: int) -> None:
    """Run an empty program in a plain process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", str(nth))
    await process.wait()


async def measure(seconds: float, workers: int) -> dict[str, float]:
    """Measure the rates one after the other."""
    question = Question("q", (), grader="code", checks=Checks({"base": "assert f(2) == 4"}))
    sandbox = Bubblewrap(workers)
    await sandbox.prove()
    async with CodeGrader(CodeSettings(workers=workers)) as grader:
        stop = asyncio.Event()
        watch = asyncio.create_task(longest_wait(stop))
        bare = await rate(lambda nth: sandbox.run(str(nth)), seconds, workers)
        judged = await rate(
            lambda nth: grader.grade(
                question, f"```python\ndef f(x):\n    return 2 * x  # {nth}\n```"
            ),
            seconds,
            workers,
        )
        stop.set()
        blocked = await watch
    return {
        "sandbox_per_s": round(bare, 1),
        "judged_per_s": round(judged, 1),
        "plain_ratio": round(bare / await rate(plain, seconds, workers), 3),
        "loop_block_ms": round(blocked, 1),
    }


def main() -> None:
    """Measure, and print the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(measure(asked.seconds, asked.workers))))


if __name__ == "__main__":
    main()
