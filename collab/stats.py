"""How sure a number is: intervals at 95 %, matched pairs, questions that come more than once."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rate:
    """`k` successes in `n` independent trials, with Wilson's interval."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(f"a rate of {self.k!r} in {self.n!r}: allowed are 0 to n successes")

    @property
    def value(self) -> float:
        """The share of successes; NaN without trials."""
        return self.k / self.n if self.n else math.nan

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return wilson(self.k, self.n)[0]

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return wilson(self.k, self.n)[1]

    def __str__(self) -> str:
        if not self.n:
            return "– (n=0)"
        return f"{_percent(self.value, self.low, self.high)} (n={self.n})"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of values from 0 to 1, some of which share a cluster (a question)."""

    value: float
    low: float
    high: float
    n: int
    """Values."""
    clusters: int

    def __str__(self) -> str:
        if not self.n:
            return "– (n=0)"
        shared = f", {self.clusters} clusters" if self.clusters < self.n else ""
        return f"{_percent(self.value, self.low, self.high)} (n={self.n}{shared})"


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference of two shares of success: treated minus control."""

    value: float
    low: float
    high: float
    n: int
    """Matched pairs, or trials of both sides where they are not matched."""
    clusters: int
    p: float | None = None
    """Two-sided; None where no test was made."""
    test: str = ""
    """The test that `p` is from."""

    def __str__(self) -> str:
        if not self.n:
            return "– (n=0)"
        low, high = 100 * self.low, 100 * self.high
        shared = f", {self.clusters} clusters" if self.clusters < self.n else ""
        odds = "" if self.p is None else f", {_p(self.p)}"
        return f"{100 * self.value:+.1f} pp [{low:+.1f}, {high:+.1f}] (n={self.n}{shared}{odds})"


def wilson(k: float, n: float) -> Interval:
    """Return the score interval of a share (Wilson 1927); (0, 1) without trials.

    `k` and `n` may be effective counts, which need not be whole.
    """
    if n <= 0:
        return 0.0, 1.0
    share, extra = k / n, Z * Z / n
    middle = share + extra / 2
    half = Z * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    low, high = (middle - half) / (1 + extra), (middle + half) / (1 + extra)
    return (low if k > 0 else 0.0), (high if k < n else 1.0)


def difference(treated: Rate, control: Rate) -> Effect:
    """Compare two rates that are not matched, by Newcombe's hybrid of score intervals.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998), 873-890.
    """
    low, high = _hybrid((treated.k, treated.n), (control.k, control.n), correlation=0.0)
    n = treated.n + control.n
    return Effect(treated.value - control.value, low, high, n, n)


def paired_effect(
    treated: Sequence[bool], control: Sequence[bool], clusters: Sequence[Hashable]
) -> Effect:
    """Compare the outcomes of matched cases; `clusters` names the question of each.

    Where no question comes twice: the paired score interval (method 10 of Newcombe, Statistics in
    Medicine 17 (1998), 2635-2650) and McNemar's exact test. Where one does: a cluster-robust
    standard error with t quantiles of clusters - 1 degrees of freedom, and its t test.

    Raises:
        ValueError: The three lists have different lengths.
    """
    pairs = list(zip(treated, control, clusters, strict=True))
    if not pairs:
        return Effect(math.nan, -1.0, 1.0, 0, 0)
    differences = [int(one) - int(other) for one, other, _ in pairs]
    value, n, distinct = sum(differences) / len(pairs), len(pairs), len(set(clusters))
    if distinct == n:
        low, high = _paired_interval(pairs)
        return Effect(value, low, high, n, n, mcnemar(treated, control), "exact McNemar")
    error = _cluster_error(differences, clusters)
    if not error:  # no two clusters differ: as if each were one pair
        low, high = _paired_interval(pairs, weight=distinct / n)
        return Effect(value, low, high, n, distinct)
    half = t_quantile(distinct - 1) * error
    p = 1 - _inside(abs(value) / error, distinct - 1)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Effect(value, low, high, n, distinct, p, "cluster-robust t")


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Mean:
    """Average values from 0 to 1 of which some share a cluster, such as draws of one question.

    The interval is cluster-robust, with t quantiles of clusters - 1 degrees of freedom. Where no
    two clusters differ it is Wilson's, for as many trials as there are clusters.
    """
    if not values:
        return Mean(math.nan, 0.0, 1.0, 0, 0)
    value, distinct = sum(values) / len(values), len(set(clusters))
    error = _cluster_error(values, clusters)
    if error:
        half = t_quantile(distinct - 1) * error
        low, high = max(0.0, value - half), min(1.0, value + half)
    else:
        low, high = wilson(value * distinct, distinct)
    return Mean(value, low, high, len(values), distinct)


def mcnemar(treated: Sequence[bool], control: Sequence[bool]) -> float:
    """Return the exact two-sided p that the discordant pairs fall to both sides alike."""
    pairs = list(zip(treated, control, strict=True))
    gained = sum(one and not other for one, other in pairs)
    lost = sum(other and not one for one, other in pairs)
    discordant = gained + lost
    tail = ways = 1
    for fewer in range(min(gained, lost)):
        ways = ways * (discordant - fewer) // (fewer + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Estimate without bias the chance that one of `k` draws is correct, from `n` draws.

    Chen et al., Evaluating Large Language Models Trained on Code (2021), equation 1.

    Raises:
        ValueError: `k` is not from 1 to `n`, or `correct` not from 0 to `n`.
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{k} of {correct} correct in {n} draws: allowed are k from 1 to n")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)


@cache
def t_quantile(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    low, high = Z, 13.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < LEVEL else (low, middle)
    return high


def _inside(t: float, freedom: int) -> float:
    """Return the chance that |T| < t (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def _cluster_error(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the standard error of the mean that lets the values of one cluster go together."""
    mean = sum(values) / len(values)
    totals: defaultdict[Hashable, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        totals[cluster] += value - mean
    if len(totals) < 2:
        return 0.0
    spread = math.fsum(total**2 for total in totals.values()) * len(totals) / (len(totals) - 1)
    error = math.sqrt(spread) / len(values)
    return error if error > 1e-12 else 0.0


def _paired_interval(pairs: Iterable[tuple[bool, bool, object]], weight: float = 1.0) -> Interval:
    """Return Newcombe's interval; `weight` is how much of a pair each of them counts for."""
    counts = Counter((bool(one), bool(other)) for one, other, _ in pairs)
    both, gained = weight * counts[True, True], weight * counts[True, False]
    lost, neither = weight * counts[False, True], weight * counts[False, False]
    n = both + gained + lost + neither
    product = both * neither - gained * lost
    if product > 0:
        product = max(product - n / 2, 0.0)  # his continuity correction
    sides = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    correlation = product / math.sqrt(sides) if sides else 0.0
    return _hybrid((both + gained, n), (both + lost, n), correlation)


def _hybrid(
    treated: tuple[float, float], control: tuple[float, float], correlation: float
) -> Interval:
    """Join two score intervals, each of (successes, trials), into one of their difference."""
    if not treated[1] or not control[1]:
        return -1.0, 1.0
    one, other = treated[0] / treated[1], control[0] / control[1]
    (one_low, one_high), (other_low, other_high) = wilson(*treated), wilson(*control)

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    low = one - other - reach(one - one_low, other_high - other)
    high = one - other + reach(one_high - one, other - other_low)
    return low, high


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _p(p: float) -> str:
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"
