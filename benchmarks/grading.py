"""Measure the speed of grading, compared with the same judgements in plain processes.

    python benchmarks/grading.py

Both use two processes and the same pairs of gold answer and text, each pair once. The last line is
one JSON object: `verdicts_ratio`, our verdicts per second over those of the plain processes;
`cached_ratio`, the rate for pairs judged before over that for new ones; `kept_ratio`, the rate for
pairs that are only in the verdict file over that for new ones; `sandbox_per_s`, programs run per
second (null without bubblewrap); `loop_block_ms`, the longest time for which grading blocked the
event loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median

from collab.grading.maths import MathsGrader, MathsSettings, _judge
from collab.runs.run import each
from collab.sandbox.bubblewrap import Bubblewrap

PROCESSES = 2
ROUNDS = 3
PAIRS = 400
CONCURRENCY = 64
PROGRAMS = 60
LONG = 1_000_000
Pairs = Sequence[tuple[str, str]]


def main() -> None:
    gc.freeze()  # as a run does
    ratios: list[dict[str, float]] = []
    blocks: list[float] = []
    for seed in range(ROUNDS):
        pairs = make_pairs(seed)
        plain = in_plain_processes(pairs)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "verdicts.sqlite"
            fresh, cached, block = asyncio.run(graded(pairs, file))
            kept, _, _ = asyncio.run(graded(pairs, file))
        blocks.append(block)
        print(f"plain {plain:8.0f}  ours {fresh:8.0f}  from the file {kept:8.0f}  ", end="")
        print(f"from memory {cached:9.0f} verdicts/s, loop blocked for {block:.1f} ms")
        found = {"verdicts": fresh / plain, "cached": cached / fresh, "kept": kept / fresh}
        ratios.append(found)
    middle = {key: round(median(ratio[key] for ratio in ratios), 2) for key in ratios[0]}
    print(
        json.dumps(
            {f"{key}_ratio": value for key, value in middle.items()}
            | {"sandbox_per_s": asyncio.run(sandboxed()), "loop_block_ms": round(max(blocks), 1)}
        )
    )


def make_pairs(seed: int) -> Pairs:
    """Make right and wrong answers of the usual kinds, in other forms than the gold answers."""
    rng = Random(seed)
    kinds = (
        lambda a, b: (rf"\frac{{{a}}}{{{b}}}", rf"So it is $\frac{{{2 * a}}}{{{2 * b}}}$, that is"),
        lambda a, b: (f"{a * b}", f"We multiply and get {a * b:,}. Hence"),
        lambda a, b: (f"({a}, {b}]", f"The interval is ({a},{b}]:"),
        lambda a, b: (rf"{a}\sqrt{{{b}}}", rf"${a}\cdot\sqrt{{{b}}}$"),
        lambda a, b: (f"x^2-{a}x+{b}", f"{b}-{a}x+x^2"),
        lambda a, b: (f"{a}.{b}", rf"{a}.{b}0\%"),
    )
    pairs = []
    for n in range(PAIRS):
        a, b = rng.randint(2, 10**6), rng.randint(2, 10**6)
        gold, form = kinds[n % len(kinds)](a, b)
        answer = gold if n % 2 else gold.replace(str(a), str(a + 1))
        pairs.append((gold, f"{form} \\boxed{{{answer}}}"))
    return pairs


def in_plain_processes(pairs: Pairs) -> float:
    """Return the verdicts per second of plain processes that share the pairs."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for nth in range(PROCESSES):
        ours, theirs = context.Pipe()
        context.Process(target=loop, args=(theirs, pairs[nth::PROCESSES]), daemon=True).start()
        ours.recv()  # the process is ready
        pipes.append(ours)
    start = time.perf_counter()
    for pipe in pipes:
        pipe.send(None)
    for pipe in pipes:
        pipe.recv()
    return len(pairs) / (time.perf_counter() - start)


def loop(pipe: Connection, pairs: Pairs) -> None:
    _judge("1", r"\boxed{1}")
    pipe.send(None)
    pipe.recv()
    for gold, text in pairs:
        _judge(gold, text)
    pipe.send(None)


async def graded(pairs: Pairs, file: Path) -> tuple[float, float, float]:
    """Return the verdicts per second for new and known pairs, and the longest loop block (ms)."""
    async with MathsGrader(MathsSettings(workers=PROCESSES), file) as grader:
        await asyncio.gather(*(grader.compare("1", rf"\boxed{{{n}}}") for n in range(8)))
        blocks: list[float] = [0.0]
        watch = asyncio.create_task(watch_loop(blocks))
        fresh = await rate(grader, pairs)
        known = await rate(grader, pairs)
        await asyncio.gather(*(grader.compare("1", f"{n}" + "{" * LONG) for n in range(4)))
        watch.cancel()
    return fresh, known, max(blocks)


async def rate(grader: MathsGrader, pairs: Pairs) -> float:
    """Return the verdicts per second, with as many concurrent judgements as a run has episodes."""

    async def one(pair: tuple[str, str]) -> None:
        await grader.compare(*pair)

    start = time.perf_counter()
    await each(pairs, one, CONCURRENCY)
    return len(pairs) / (time.perf_counter() - start)


async def watch_loop(blocks: list[float]) -> None:
    """Collect the CPU times for which the event loop's thread was busy (ms)."""
    while True:
        start = time.thread_time()
        await asyncio.sleep(0.001)
        blocks.append(1e3 * (time.thread_time() - start))


async def sandboxed() -> float | None:
    """Return the programs run per second, or None without bubblewrap."""
    if shutil.which("bwrap") is None:
        return None
    sandbox = Bubblewrap(PROCESSES)
    await sandbox.prove()
    start = time.perf_counter()
    await asyncio.gather(*(sandbox.run(f"print({n})") for n in range(PROGRAMS)))
    return round(PROGRAMS / (time.perf_counter() - start), 1)


if __name__ == "__main__":
    main()
