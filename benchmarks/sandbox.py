"""How many programs a second are run in sandboxes, and judged with their tests.

    python benchmarks/sandbox.py [--seconds 10]

The last line is one JSON object: `sandbox_per_s`, empty programs in a sandbox each; `judged_per_s`,
programs with their tests; `plain_ratio`, the first to as many plain processes of the interpreter in
the same run; `loop_block_ms`, the longest that the event loop was kept from coming back.
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
    """Return how often a second `work` is done, by so many workers side by side."""
    numbers, begun = count(), time.perf_counter()

    async def go_on() -> int:
        done = 0
        while time.perf_counter() - begun < seconds:
            await work(next(numbers))
            done += 1
        return done

    done = sum(await asyncio.gather(*(go_on() for _ in range(workers))))
    return done / (time.perf_counter() - begun)


async def longest_wait(stop: asyncio.Event) -> float:
    """Return the longest time beyond a tick that the loop took to come back (milliseconds)."""
    longest = 0.0
    while not stop.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - begun - TICK)
    return 1000 * longest


async def plain(nth: int) -> None:
    """Run an empty program in a plain process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", str(nth))
    await process.wait()


async def measure(seconds: float, workers: int) -> dict[str, float]:
    """Measure each in turn."""
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
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(measure(asked.seconds, asked.workers))))


if __name__ == "__main__":
    main()
