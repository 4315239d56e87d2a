"""The fault matrix: replies fail in every way, and what comes of it is what came without."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from collab.core.boundary import Sentence
from collab.core.sampling import Request, Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.limits import Limits
from collab.endpoints.scripted import TEMPLATE, Failure, ScriptedServer, WordTokenizer
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.runs.run import each
from collab.store.store import Store
from collab.templates.template import Template

if TYPE_CHECKING:
    Spoken = Callable[[Tokenizer], WordTokenizer]

SILENT: frozenset[Failure] = frozenset({"hang", "half_stream"})
"""Found out by the timeout alone."""
PASSING = sorted(frozenset[Failure](get_args(Failure)) - {"unauthorized"})
QUICK = [failure for failure in PASSING if failure not in SILENT]
STATM = Path("/proc/self/statm")
SENTENCES = ("So we add.", "We check.", "It is more.", "Then we stop.", "It is 12.", "Hm.")


def rambling(prompt: str) -> list[str]:
    """Go on with other sentences by the seed; close after some."""
    said = prompt.rpartition("<think>")[2].count(".")
    if "</think>" in prompt.rpartition("<think>")[2]:
        return [f" The answer is {n}." for n in range(7)]
    ends = ["</think>"] if said >= 5 else []
    return [*(" " + sentence for sentence in SENTENCES), *ends * 6]


class Impatient(random.Random):
    """Chooses pauses of no length."""

    def uniform(self, a: float, b: float) -> float:
        return a


@dataclass
class Weather:
    """Failures at a rate, after the first reply, all kinds in turn; what befell is counted."""

    rate: float
    kinds: list[Failure]
    befell: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Failure | None]:
        rng, kinds = random.Random(5), cycle(self.kinds)
        yield None
        while True:
            failure = next(kinds) if rng.random() < self.rate else None
            if failure is not None:
                self.befell[failure] += 1
            yield failure

    @property
    def repeated(self) -> int:
        """How many requests had to be sent again: what is late was answered."""
        return self.befell.total() - self.befell["slow"]


@dataclass(frozen=True)
class Played:
    texts: dict[str, tuple[str, ...]]
    requests: int
    kept: int


async def played(
    weather: Weather,
    episodes: int,
    place: Path,
    tokenizer: Tokenizer,
    words: WordTokenizer,
    patience: float,
) -> Played:
    texts: dict[str, tuple[str, ...]] = {}
    limits = Limits(concurrency=16, timeout=patience, retries=40)
    async with (
        ScriptedServer(rambling, failures=weather, tokenizer=words, latency=0.01) as server,
        Endpoint(server.url, "scripted", tokenizer, limits=limits, rng=Impatient()) as endpoint,
        Store.open(place) as store,
    ):
        frame = Frame(Template(TEMPLATE))
        model = Model("m", endpoint, IdsDialect(frame, tokenizer), tokenizer, store, Sampling())

        async def one(number: int) -> None:
            case = Case(f"{number}", Question("q", (Message("user", "How much?"),)), Solo())
            episode = await play_case(case, Team({"main": model}), until=Sentence(), budget=200)
            units = (*episode.trajectory.units, *episode.trajectory.reply)
            texts[case.id] = (episode.finish, *(unit.text for unit in units))

        await one(-1)  # a server that has answered well: what is strange from now on is an accident
        await each(range(episodes), one, 16)
        return Played(texts, len(server.generating), store.sampled)


async def compare(
    rate: float,
    kinds: list[Failure],
    episodes: int,
    folder: Path,
    tokenizer: Tokenizer,
    words: WordTokenizer,
    patience: float = 30,
) -> Weather:
    fair, foul = Weather(0, kinds), Weather(rate, kinds)
    want = await played(fair, episodes, folder / "fair.sqlite", tokenizer, words, 30)
    got = await played(foul, episodes, folder / "foul.sqlite", tokenizer, words, patience)
    assert got.texts == want.texts
    assert len(set(want.texts.values())) > 1
    assert got.kept == want.kept == want.requests
    assert got.requests == want.requests + foul.repeated
    return foul


@pytest.mark.parametrize("rate", [0.05, 0.3])
async def test_episodes_end_with_the_same_texts_whatever_befalls_their_replies(
    rate: float, tmp_path: Path, wordy: Tokenizer, spoken: "Spoken"
) -> None:
    foul = await compare(rate, QUICK, 10, tmp_path, wordy, spoken(wordy))
    assert foul.befell.total() > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("rate", "episodes"), [(0.05, 600), (0.3, 150)])
async def test_the_whole_matrix_with_silence_loses_and_doubles_nothing(
    rate: float, episodes: int, tmp_path: Path, wordy: Tokenizer, spoken: "Spoken"
) -> None:
    foul = await compare(rate, PASSING, episodes, tmp_path, wordy, spoken(wordy), patience=5)
    assert foul.befell.keys() == set(PASSING)


def resident() -> int:
    """Return the memory of this process (bytes)."""
    return int(STATM.read_text().split()[1]) * 4096


@pytest.mark.skipif(not STATM.exists(), reason="this system tells no process's memory in /proc")
@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_memory_stays_flat_over_ten_thousand_requests(
    wordy: Tokenizer, spoken: "Spoken"
) -> None:
    weather = Weather(0.05, QUICK)
    prompt = wordy.encode("So we add 3 and 4. " * 40)
    async with (
        ScriptedServer(rambling, failures=weather, tokenizer=spoken(wordy), keep=0) as server,
        Endpoint(server.url, "scripted", wordy, rng=Impatient()) as endpoint,
    ):

        async def one(seed: int) -> None:
            request = Request("m", prompt, Sampling(), 16, (".",))
            await endpoint.complete(request, range(1), seed=seed)

        await one(0)
        taken = []
        for start in (0, 2_000, 6_000):
            await each(range(start, start + (2_000 if not start else 4_000)), one, 16)
            await asyncio.sleep(0)
            gc.collect()
            taken.append(resident())
    assert taken[2] - taken[0] < 8 * 2**20, taken
