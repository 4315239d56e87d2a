"""Numbers of which the truth is known: a reasoner whose chances vary by question and distractor.

How often an interval covers the truth is compared with how often the method covers it exactly, at
that n and those chances: summed over all that may come out. Only a binomial test that rejects at
p < 0.001 after Holm's correction over all checks of a test fails it.
"""

import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from collab.analysis.estimates import effect_of, matched, share_of
from collab.analysis.stats import Effect, Mean, Rate, holm, paired_effect, t_quantile, wilson
from collab.core.boundary import Answer
from collab.core.design import Design
from collab.core.policy import Policy
from collab.core.sampling import Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.scripted import TEMPLATE, ScriptedServer, WordTokenizer
from collab.endpoints.tokens import Tokenizer
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.grading.maths import MathsGrader, MathsSettings
from collab.policies.distractor import Distractor
from collab.policies.guide import Guide
from collab.reasoners.model import Model
from collab.runs.run import Setup, SilentStages, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Scenario, Score, Verdict
from collab.scenarios.guidability import Guidability
from collab.scenarios.recoverability import Recoverability
from collab.store.store import Store
from collab.templates.template import Template

EASE = (0.2, 0.6)
"""The range of what a question adds to the chance; each value is as likely."""
KINDNESS = (0.0, 0.4)
"""The range of what a distractor adds."""
ALONE = 0.9
"""The chance without a steer."""
LEVEL = 0.001


@dataclass
class Checks:
    """Counts how often intervals cover the truth, and whether estimates are off it."""

    ps: dict[str, float] = field(default_factory=dict)

    def add(
        self, name: str, found: Sequence[Mean | Effect | Rate], truth: float, exact: float
    ) -> None:
        """Test the coverage of one number, and its bias."""
        covered = sum(one.low <= truth <= one.high for one in found)
        self.ps[f"{name}: covers"] = float(binomtest(covered, len(found), exact).pvalue)
        values = np.array([one.value for one in found])
        off = (values.mean() - truth) / (values.std(ddof=1) / math.sqrt(len(found)))
        self.ps[f"{name}: is unbiased"] = math.erfc(abs(off) / math.sqrt(2))

    def verdicts(self) -> dict[str, float]:
        """Return what is rejected, by name."""
        adjusted = holm(list(self.ps.values()))
        return {name: p for name, p in zip(self.ps, adjusted, strict=True) if p < LEVEL}


Weights = NDArray[np.float64]


def totals(size: int, kind: Callable[[float], float], low: float, high: float) -> Weights:
    """Return the chances of 0 … size successes in a cluster whose chance is `kind` of a uniform."""
    found = np.zeros(size + 1)
    steps = 400
    for step in range(steps):
        p = kind(low + (high - low) * (step + 0.5) / steps)
        found += [math.comb(size, k) * p**k * (1 - p) ** (size - k) for k in range(size + 1)]
    return found / steps


def coverage_of_mean(clusters: int, chances: Weights, truth: float, *, singles: bool) -> float:
    """Sum the chances of all that covers, for equal clusters of which only totals matter.

    Args:
        clusters: How many.
        chances: Of each total of one.
        truth: What should be covered.
        singles: Whether cases are clusters of their own the other way (a question each).
    """
    size = len(chances) - 1
    n = clusters * size
    state = np.zeros((n + 1, clusters * size * size + 1))  # by sum, and by sum of squares
    state[0, 0] = 1.0
    for _ in range(clusters):
        following = np.zeros_like(state)
        for total, chance in enumerate(chances):
            square = total * total
            moved = state[: state.shape[0] - total, : state.shape[1] - square]
            following[total:, square:] += chance * moved
        state = following
    covered = 0.0
    for total, squares in zip(*np.nonzero(state > 1e-15), strict=True):
        mean = total / n
        between = squares - total * total / clusters
        variance = between * clusters / (clusters - 1) / n**2
        if singles:
            variance = max(variance, n / (n - 1) * n * mean * (1 - mean) / n**2)
        if variance > 1e-18:
            trials, z = min(mean * (1 - mean) / variance, n), t_quantile(clusters - 1)
            low, high = wilson(mean * trials, trials, z)
        else:
            low, high = wilson(mean * clusters, clusters)
        covered += state[total, squares] * (low <= truth <= high)
    return covered


def coverage_of_pairs(n: int, chances: Sequence[float], truth: float) -> float:
    """Sum over all tables of n matched pairs: both, gained, lost, neither."""
    covered = 0.0
    logs = [math.log(chance) for chance in chances]
    for both in range(n + 1):
        for gained in range(n + 1 - both):
            for lost in range(n + 1 - both - gained):
                counts = both, gained, lost, n - both - gained - lost
                log = math.lgamma(n + 1) + sum(
                    k * chance - math.lgamma(k + 1) for k, chance in zip(counts, logs, strict=True)
                )
                if log > -30:
                    found = paired_effect(*_sides(*counts), range(n))
                    covered += math.exp(log) * (found.low <= truth <= found.high)
    return covered


def _sides(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    treated = [True] * (both + gained) + [False] * (lost + neither)
    return treated, [True] * both + [False] * gained + [True] * lost + [False] * neither


def coverage_of_cluster_t(clusters: int, size: int, truth: float) -> float:
    """Sum over all totals of differences: steered minus alone, `size` pairs a question."""
    span = clusters * size
    state = np.zeros((2 * span + 1, clusters * size * size + 1))
    state[span, 0] = 1.0
    chances = np.zeros(2 * size + 1)
    steps = 200
    for step in range(steps):
        p = EASE[0] + (EASE[1] - EASE[0]) * (step + 0.5) / steps
        one = np.array([(1 - p) * ALONE, p * ALONE + (1 - p) * (1 - ALONE), p * (1 - ALONE)])
        several = np.array([1.0])
        for _ in range(size):
            several = np.convolve(several, one)
        chances += several / steps
    for _ in range(clusters):
        following = np.zeros_like(state)
        for index, chance in enumerate(chances):
            total = index - size
            moved = np.roll(state, total, axis=0)
            square = total * total
            following[:, square:] += chance * moved[:, : state.shape[1] - square]
        state = following
    covered = 0.0
    for index, squares in zip(*np.nonzero(state > 1e-15), strict=True):
        total = index - span
        mean, n = total / span, span
        variance = (squares - total * total / clusters) * clusters / (clusters - 1) / n**2
        half = t_quantile(clusters - 1) * math.sqrt(max(variance, 0.0))
        covered += state[index, squares] * (mean - half <= truth <= mean + half)
    return covered


def case(arm: str, question: int, right: bool, pair: int, distractor: int | None = None) -> Score:
    design = Design(arm=arm, pair=str(pair))
    if distractor is not None:
        design = replace(design, steer_question=f"d{distractor}")
    verdict: Verdict = "correct" if right else "wrong"
    return Score(f"{arm}/{pair}", f"q{question}", verdict, design)


def by_distractor(p: float) -> float:
    """Return the chance under a distractor, over all questions."""
    return sum(EASE) / 2 + p


TRUTH = sum(EASE) / 2 + sum(KINDNESS) / 2


def steered(rng: Random, questions: int, distractors: int) -> list[Score]:
    """Let each question meet one distractor, all of them equally often."""
    kind = [rng.uniform(*KINDNESS) for _ in range(distractors)]
    return [
        case(
            "steer",
            n,
            rng.random() < rng.uniform(*EASE) + kind[n % distractors],
            n,
            n % distractors,
        )
        for n in range(questions)
    ]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_intervals_cover_the_truth_as_often_as_the_method_does_and_nothing_is_biased() -> None:
    rng, runs, checks = Random(20), 2000, Checks()
    tosses = [[case("solo", n, rng.random() < 0.6, n) for n in range(50)] for _ in range(runs)]
    exact = sum(
        math.comb(50, k) * 0.6**k * 0.4 ** (50 - k) * (Rate(k, 50).low <= 0.6 <= Rate(k, 50).high)
        for k in range(51)
    )
    checks.add("a rate", [share_of(scores) for scores in tosses], 0.6, exact)

    def draws(questions: int, each: int) -> list[Score]:
        eases = [rng.uniform(*EASE) for _ in range(questions)]
        return [
            case("solo", n, rng.random() < eases[n], each * n + d)
            for n in range(questions)
            for d in range(each)
        ]

    exact = coverage_of_mean(30, totals(4, lambda p: p, *EASE), 0.4, singles=False)
    checks.add("draws of a question", [share_of(draws(30, 4)) for _ in range(runs)], 0.4, exact)
    exact = coverage_of_mean(15, totals(3, by_distractor, *KINDNESS), TRUTH, singles=True)
    found = [share_of(steered(rng, 45, 15)) for _ in range(runs)]
    checks.add("questions by distractors", found, TRUTH, exact)

    def pairs(questions: int, each: int) -> Effect:
        scores = []
        for n in range(questions):
            ease = rng.uniform(*EASE)
            for pair in range(each * n, each * n + each):
                scores.append(case("steer", n, rng.random() < ease, pair))
                scores.append(case("none", n, rng.random() < ALONE, pair))
        return effect_of(matched(scores, "none"))

    steer = sum(EASE) / 2
    table = [steer * ALONE, steer * (1 - ALONE), (1 - steer) * ALONE, (1 - steer) * (1 - ALONE)]
    exact = coverage_of_pairs(40, table, steer - ALONE)
    checks.add("pairs", [pairs(40, 1) for _ in range(runs)], steer - ALONE, exact)
    exact = coverage_of_cluster_t(25, 3, steer - ALONE)
    checks.add("pairs of a question", [pairs(25, 3) for _ in range(runs)], steer - ALONE, exact)
    assert checks.verdicts() == {}


def test_what_is_off_the_truth_or_covers_too_seldom_is_found() -> None:
    rng, checks = Random(1), Checks()
    found = [Rate(sum(rng.random() < 0.5 for _ in range(50)), 50) for _ in range(400)]
    checks.add("right", found, 0.5, 0.95)
    assert checks.verdicts() == {}
    checks.add("wrong", found, 0.6, 0.95)
    assert set(checks.verdicts()) == {"wrong: covers", "wrong: is unbiased"}


def test_exact_coverage_is_that_of_wilson_where_clusters_are_single_cases() -> None:
    """With one case a cluster, the error that is summed over is that of n - 1."""
    chances = np.array([0.4, 0.6])
    expected = 0.0
    for k in range(31):
        low, high = wilson(k / 30 * 29, 29, t_quantile(29)) if 0 < k < 30 else wilson(k, 30)
        expected += math.comb(30, k) * 0.6**k * 0.4 ** (30 - k) * (low <= 0.6 <= high)
    assert coverage_of_mean(30, chances, 0.6, singles=False) == pytest.approx(expected)


SAID = "Let us look at {0}. We count what there is. Then we add it up. It comes to much. Done.\n"
REPLY = "</think>It is \\boxed{{{0}}}."


class Reasoner:
    """A script: behind another's steer it is right by chance, as question and steer allow."""

    def __init__(self, alone: float) -> None:
        self._alone = alone
        self._rng = Random(7)
        self._ease: dict[str, float] = {}
        self._kind: dict[str, float] = {}

    def __call__(self, prompt: str) -> list[str]:
        asked = prompt.partition("What is ")[2].partition("?")[0]
        met = re.findall(r"Let us look at (\w+)", prompt.rpartition("<think>")[2])
        begin = "" if met else SAID.format(asked)
        right = round(1000 * self._chance(asked, met))
        replies = [REPLY.format(known(asked))] * right
        return [begin + reply for reply in [*replies, *[REPLY.format(7)] * (1000 - right)]]

    def _chance(self, asked: str, met: Sequence[str]) -> float:
        if not met:
            return self._alone
        if met[-1] == asked and self._alone:
            return ALONE
        ease = self._ease.setdefault(asked, self._rng.uniform(*EASE))
        if met[-1] == asked:
            return ease
        return ease + self._kind.setdefault(met[-1], self._rng.uniform(*KINDNESS))


def known(question: str) -> int:
    """Return the answer of a question."""
    return 100 + int(question.rpartition("x")[2])


@dataclass(frozen=True)
class Bench:
    """What all repetitions share: the models, the judge, a place for runs."""

    seats: Mapping[str, Model]
    grader: MathsGrader
    folder: Path

    async def play(self, scenario: Scenario, policy: Policy, main: str, name: str) -> list[Score]:
        """Run a scenario on 24 questions that no other repetition has met."""
        asked = [
            Question(one, (Message("user", f"What is {one}?"),), str(known(one)))
            for one in (f"{name}x{nth}" for nth in range(24))
        ]
        seats: dict[str, Model | Recorded] = {"main": self.seats[main], "distractor": Recorded()}
        seats["guide"] = self.seats["able"]
        setup = Setup(
            scenario=scenario,
            policy=policy,
            questions=asked,
            team=Team({**seats}),
            grader=self.grader,
            until=Answer(),
            budget=2000,
        )
        with RunFolder.enter(self.folder / name, {}, {}) as folder:
            return list((await run(setup, folder, SilentStages())).scores)


@pytest.fixture
async def bench(
    wordy: Tokenizer, spoken: Callable[[Tokenizer], WordTokenizer], store: Store, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        seats = {}
        for name, alone in (("able", 1.0), ("lost", 0.0)):
            server = ScriptedServer(Reasoner(alone), tokenizer=spoken(wordy), keep=0)
            await stack.enter_async_context(server)
            endpoint = await stack.enter_async_context(Endpoint(server.url, "scripted", wordy))
            seats[name] = Model(
                identity=f"{name}@1",
                endpoint=endpoint,
                dialect=IdsDialect(Frame(Template(TEMPLATE)), wordy),
                tokenizer=wordy,
                store=store,
                sampling=Sampling(),
            )
        grader = await stack.enter_async_context(MathsGrader(MathsSettings(workers=1)))
        yield Bench(seats, grader, tmp_path / "runs")


async def recover(bench: Bench, nth: int) -> tuple[Mean, Effect]:
    """Play recoverability once: 24 questions that are always solved alone, 12 distractors."""
    scenario = Recoverability(
        samples=2, originals=24, distractors=12, points=(0.4,), controls=("none",)
    )
    pairs = matched(await bench.play(scenario, Distractor(), "able", f"r{nth}"), "none")
    return share_of([one for one, _ in pairs]), effect_of(pairs)


async def guide(bench: Bench, nth: int) -> Mean:
    """Play guidability once: 24 questions that are never solved alone, a guide, two shares."""
    scenario = Guidability(samples=2, lengths=(0.2, 0.6), controls=("none",))
    scores = await bench.play(scenario, Guide(), "lost", f"g{nth}")
    return share_of([score for score in scores if score.design.arm == "steer"])


async def check(bench: Bench, runs: int) -> Checks:
    """Repeat the whole pipeline: servers, banks, cases, episodes, verdicts, tables' numbers."""
    checks = Checks()
    recovered = [(await recover(bench, nth))[0] for nth in range(runs)]
    exact = coverage_of_mean(12, totals(2, by_distractor, *KINDNESS), TRUTH, singles=True)
    checks.add("recovers", recovered, TRUTH, exact)
    exact = coverage_of_mean(24, totals(2, lambda p: p, *EASE), 0.4, singles=False)
    checks.add("is guided", [await guide(bench, nth) for nth in range(runs)], 0.4, exact)
    return checks


@pytest.mark.long
async def test_the_pipeline_plays_a_reasoner_of_known_chances(bench: Bench) -> None:
    mean, effect = await recover(bench, 0)
    assert (mean.n, mean.clusters, effect.n) == (24, 12, 24)
    assert 0.2 < mean.value < 0.95
    guided = await guide(bench, 0)
    assert (guided.n, guided.clusters) == (48, 24)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_the_whole_pipeline_finds_the_truth_as_often_as_the_method_does(
    bench: Bench,
) -> None:
    assert (await check(bench, 200)).verdicts() == {}
