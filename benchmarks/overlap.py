"""Measure the time that prefetching saves, with an overseer and with a drafter.

    python benchmarks/overlap.py [SECONDS]

The server takes a fixed time for each request: SECONDS (default 1) for a unit, 0.8 × SECONDS for a
verdict, and 2 × SECONDS for a unit that the big model rewrites. The last line is one JSON object of
medians over rounds. `watched_ratio` is the wall-clock time of an episode in which an overseer
reviews and accepts every unit while the next one is written, relative to the same episode without
an overseer. `speculate_speedup` is the speed-up of `speculate` if the next step is drafted while
this one is scored; one step in five is rejected.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from typing_extensions import override

from collab.core.boundary import Paragraph
from collab.core.policy import Policy
from collab.core.sampling import Sampling
from collab.core.trajectory import Edited, Message, Question, Rewound
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, TextDialect
from collab.endpoints.scripted import TEMPLATE, ScriptedServer, WordTokenizer
from collab.endpoints.scripted.mind import ScriptedModel
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.policies.overseer import Overseer
from collab.policies.speculate import Speculate
from collab.reasoners.model import Model
from collab.serving import Card, Job, Piece
from collab.store.store import Store
from collab.templates.template import Template

STEPS = 10
"""Units of an episode."""
REJECTED = 5
"""Every fifth step is scored 0."""
ROUNDS = 3
VERDICT, REWRITE = 0.8, 2.0
"""The times of a verdict and of a rewritten unit, relative to that of a unit."""
BUDGET = 10_000
QUESTION = Question("q", (Message("user", "3 + 4?"),))
WAYS: dict[str, Policy] = {
    "unwatched": Overseer(main="small", overseer=None),
    "watched": Overseer(main="small", overseer="big"),
    "without prefetch": Speculate(main="big", drafter="small", ahead=False),
    "with prefetch": Speculate(main="big", drafter="small"),
}


def mind(prompt: str) -> str:
    """Write the next step, or the verdict on the last one."""
    steps = [int(n) for n in re.findall(r"Step (\d+):", prompt)]
    if "accept:" in prompt:
        return " accept"
    if "Give a score" in prompt:
        return "0" if steps[-1] % REJECTED == 0 else "9"
    if "</think>" in prompt:
        return "It is 7."
    if len(steps) == STEPS - 1:
        return f"Step {STEPS}: so it is 7.</think>It is 7."
    return f"Step {len(steps) + 1}: we go on.\n\n"


class Slow(ScriptedModel):
    """A backend that takes a fixed time for each request."""

    def __init__(self, seconds: float) -> None:
        """Set the time for a unit (seconds)."""
        cards = {name: Card(2 * BUDGET, WordTokenizer.size) for name in ("small", "big")}
        super().__init__(mind, cards, TEMPLATE, WordTokenizer(), 0.0)
        self._seconds = seconds

    @override
    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        verdict = VERDICT if job.max_tokens == 1 else REWRITE
        await asyncio.sleep(self._seconds * (verdict if job.model == "big" else 1))
        async for piece in super().complete(job):
            yield piece


async def measure(seconds: float) -> dict[str, list[float]]:
    """Return the wall-clock seconds of an episode in each round, by policy."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    async with ScriptedServer(Slow(seconds)) as server:
        for _ in range(ROUNDS):
            for way, policy in WAYS.items():
                found[way].append(await timed(server.url, way, policy))
                print(f"{way:16} {found[way][-1]:6.2f} s", flush=True)
        print(f"{server.aborted} drafts were stopped on the server")
    return found


async def timed(url: str, way: str, policy: Policy) -> float:
    """Return the wall-clock seconds of an episode with an empty store."""
    with TemporaryDirectory() as folder:
        async with (
            Store.open(Path(folder) / "store.sqlite") as store,
            Endpoint(url, "small") as small,
            Endpoint(url, "big") as big,
        ):
            team = Team({"small": seated(small, store), "big": seated(big, store)})
            case = Case(way, QUESTION, policy)
            start = time.perf_counter()
            episode = await play_case(case, team, until=Paragraph(), budget=BUDGET)
            seconds = time.perf_counter() - start
    check(way, episode)
    return seconds


def seated(endpoint: Endpoint, store: Store) -> Model:
    dialect = TextDialect(Frame(Template(TEMPLATE)))
    return Model(endpoint.model, endpoint, dialect, None, store, Sampling())


def check(way: str, episode: Episode) -> None:
    """Check that the episode has the expected units."""
    struck = sum(isinstance(event, Rewound | Edited) for event in episode.trajectory.log)
    assert (len(episode.trajectory.units), episode.finish) == (STEPS, "answered")
    assert struck == (STEPS // REJECTED if "prefetch" in way else 0)


def main() -> None:
    found = asyncio.run(measure(float(sys.argv[1]) if sys.argv[1:] else 1.0))
    rounds = {way: median(seconds) for way, seconds in found.items()}
    ratios = {
        "watched_ratio": round(rounds["watched"] / rounds["unwatched"], 3),
        "speculate_speedup": round(rounds["without prefetch"] / rounds["with prefetch"], 2),
        "accepted": 1 - 1 / REJECTED,
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
