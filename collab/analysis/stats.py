"""Statistics with 95 % intervals, for matched pairs and clustered cases.

Standard errors are clustered by question, and two-way if a second list of clusters (the steering
trajectory) is given: Cameron, Gelbach and Miller, Journal of Business & Economic Statistics 29
(2011), 238-249. Tests compare the results with statsmodels where it has the same method.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Interval = tuple[float, float]
PRIOR = 0.5
"""Clusters of successes, and as many of failures, that are added for the error of a mean. A quarter
as many gains and losses are added for that of a paired difference."""
Clusters = Sequence[Hashable]
"""The cluster of each case, in the order of the cases."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`k` successes in `n` independent trials, with Wilson's interval."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(
                f"a rate of {self.k!r} in {self.n!r} is impossible; give 0 to {self.n!r} successes"
            )

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
    """The number of values."""
    clusters: int
    """The number of clusters, in the grouping with the fewest."""

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
    """Matched pairs; for unmatched sides, the trials of both."""
    clusters: int
    p: float | None = None
    """Two-sided p value; None without a test."""
    test: str = ""
    """The name of the test."""

    def __str__(self) -> str:
        if not self.n:
            return "– (n=0)"
        low, high = 100 * self.low, 100 * self.high
        shared = f", {self.clusters} clusters" if self.clusters < self.n else ""
        odds = "" if self.p is None else f", {_p(self.p)}"
        return f"{100 * self.value:+.1f} pp [{low:+.1f}, {high:+.1f}] (n={self.n}{shared}{odds})"


@dataclass(frozen=True, slots=True)
class RelativeChange:
    """The relative change of a mean: 0.1 is one tenth more."""

    value: float
    low: float
    high: float
    clusters: int
    p: float | None = None
    """Two-sided p value of no change; None without a test."""

    def __str__(self) -> str:
        if not self.clusters:
            return "– (n=0)"
        odds = "" if self.p is None else f", {_p(self.p)}"
        low, high = 100 * self.low, 100 * self.high
        return f"{100 * self.value:+.1f} % [{low:+.1f}, {high:+.1f}] (n={self.clusters}{odds})"


@dataclass(frozen=True, slots=True)
class Correlation:
    """The agreement of two rankings, from -1 to 1."""

    value: float
    low: float
    high: float
    n: int
    p: float
    """Two-sided p value of no agreement."""

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}] (n={self.n}, {_p(self.p)})"


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two raters beyond chance: Cohen's kappa."""

    value: float
    """1: always; 0: as often as by chance; NaN: both gave the same label to everything."""
    low: float
    high: float
    n: int
    agreed: int
    """The share of things with the same label from both."""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"– (n={self.n})"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] (n={self.n})"


def wilson(k: float, n: float, z: float = Z) -> Interval:
    """Return the score interval of a share (Wilson 1927); (0, 1) without trials.

    `k` and `n` may be effective counts, which need not be integers.
    """
    if n <= 0:
        return 0.0, 1.0
    share, extra = k / n, z * z / n
    middle = share + extra / 2
    half = z * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    low, high = (middle - half) / (1 + extra), (middle + half) / (1 + extra)
    return (low if k > 0 else 0.0), (high if k < n else 1.0)


def difference(treated: Rate | Mean, control: Rate | Mean) -> Effect:
    """Compare two unmatched shares by a hybrid of their intervals.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998), 873-890, applied to the intervals of
    the shares. The standard error of the test is that of the interval on the side of zero (Zou and
    Donner, Statistics in Medicine 27 (2008), 1693-1702): p is below 0.05 exactly if the interval
    excludes zero.
    """
    low, high = _hybrid(treated, control, correlation=0.0)
    n, value = treated.n + control.n, treated.value - control.value
    if not treated.n or not control.n:
        return Effect(value, low, high, n, n)
    reach = value - low if value > 0 else high - value
    p = 2 * NormalDist().cdf(-Z * abs(value) / reach) if reach else 1.0
    return Effect(value, low, high, n, n, p, "of the interval")


def paired_effect(treated: Sequence[bool], control: Sequence[bool], *clusters: Clusters) -> Effect:
    """Compare the outcomes of matched cases; `clusters` names the clusters of each.

    Give one list (the question) or two (also the steering trajectory). If no name repeats: the
    paired score interval (method 10 of Newcombe, Statistics in Medicine 17 (1998), 2635-2650) and
    McNemar's exact test. If one does: a cluster-robust standard error with t quantiles of clusters
    - 1 degrees of freedom, and its t test; an eighth of a cluster of gains and as much of losses
    are added to the variance. If one side is at 0 or 100 %, or all clusters are equal: the interval
    and the test of as many pairs as there are clusters.

    Raises:
        ValueError: The lists have different lengths.
    """
    pairs = list(zip(treated, control, strict=True))
    if not pairs:
        return Effect(math.nan, -1.0, 1.0, 0, 0)
    differences = [float(one) - float(other) for one, other in pairs]
    value, n, fewest = sum(differences) / len(pairs), len(pairs), _fewest(clusters, len(pairs))
    if fewest == n:
        low, high = _paired_interval(pairs)
        return Effect(value, low, high, n, n, mcnemar(treated, control), "exact McNemar")
    observed = _error([d - value for d in differences], clusters)
    if not observed or any(len(set(map(bool, side))) == 1 for side in (treated, control)):
        low, high = _paired_interval(pairs, weight=fewest / n)
        p = mcnemar(treated, control, weight=fewest / n)
        return Effect(value, low, high, n, fewest, p, "exact McNemar")
    size = _size(clusters, n)
    spread = PRIOR / 4 * size**2 * ((1 - value) ** 2 + (1 + value) ** 2)
    error = math.sqrt(observed**2 + spread) / n
    half = t_quantile(fewest - 1) * error
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Effect(value, low, high, n, fewest, _t_test(value / error, fewest - 1), "cluster t")


Groups = Mapping[str, Sequence[float]]
"""The results of each cluster (a question)."""


def grouped_effect(treated: Groups, control: Groups) -> Effect:
    """Compare the results of the same questions on two sides.

    The value is the difference of the means of the questions' means, over the questions that both
    sides have. Results are from 0 to 1, and the sides may have different numbers of them. The test
    is the paired t test over questions. With one outcome per question and side, use
    `paired_effect`.
    """
    ones, others = _matched(treated, control)
    if not ones:
        return Effect(math.nan, -1.0, 1.0, 0, 0)
    if all(len(of) == 1 and of[0] in (0, 1) for of in (*ones, *others)):
        return paired_effect([bool(of[0]) for of in ones], [bool(of[0]) for of in others])
    differences = [_average(one) - _average(other) for one, other in zip(ones, others, strict=True)]
    n, value = len(differences), _average(differences)
    error = _error([(d - value) / n for d in differences], [])
    if not error:  # all questions are equal
        one, other = (clustered_mean(list(map(_average, of))) for of in (ones, others))
        return Effect(value, *_hybrid(one, other, correlation=0.0), n, n)
    half = t_quantile(n - 1) * error
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Effect(value, low, high, n, n, _t_test(value / error, n - 1), "paired t")


def grouped_change(treated: Groups, control: Groups) -> RelativeChange:
    """Compare the sizes of two sides on the same questions, such as tokens or seconds.

    The value is the ratio of the means of the questions' means, minus one. The interval is that of
    its logarithm by linearisation, with t quantiles over questions.
    """
    ones, others = ([_average(of) for of in side] for side in _matched(treated, control))
    n = len(ones)
    above, below = (_average(side) if side else 0.0 for side in (ones, others))
    if above <= 0 or below <= 0:
        return RelativeChange(math.nan, -1.0, math.inf, 0)
    value = above / below
    error = _error([(a / above - b / below) / n for a, b in zip(ones, others, strict=True)], [])
    if n < 2:
        return RelativeChange(value - 1, -1.0, math.inf, n)
    reach = math.exp(t_quantile(n - 1) * error)
    p = _t_test(math.log(value) / error, n - 1) if error else None
    return RelativeChange(value - 1, value / reach - 1, value * reach - 1, n, p)


def _matched(
    treated: Groups, control: Groups
) -> tuple[list[Sequence[float]], list[Sequence[float]]]:
    """Return the results of the clusters that both sides have."""
    both = [name for name in treated if treated[name] and control.get(name)]
    return [treated[name] for name in both], [control[name] for name in both]


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def clustered_mean(
    values: Sequence[float],
    *clusters: Clusters,
    strata: Clusters | None = None,
    standard: Mapping[Hashable, float] | None = None,
) -> Mean:
    """Average values from 0 to 1 of which some share a cluster, such as draws of one question.

    The interval is Wilson's. If no name repeats, its n is the number of values. Otherwise it uses t
    quantiles and the effective number of independent trials: the number of values over the design
    effect (Kish 1965), which the cluster-robust error gives. For the design effect only, half a
    cluster of successes and half a cluster of failures are added: without a success there are as
    many trials as clusters, and from there to one success the interval changes by little.

    Args:
        values: Each from 0 to 1.
        clusters: One or two lists with the cluster of each value.
        strata: Groups of values (benchmarks, solve counts) whose means are averaged: the macro
            average. None is the micro average.
        standard: The weight of each stratum, if not equal: direct standardisation.

    Raises:
        ValueError: The lists have different lengths, or a stratum of the standard has no value.
    """
    if not values:
        return Mean(math.nan, 0.0, 1.0, 0, 0)
    strata = strata or [None] * len(values)
    weights = _weights(strata, standard)
    value = math.fsum(weight * v for weight, v in zip(weights, values, strict=True))
    fewest = _fewest(clusters, len(values))
    if fewest == len(values) and len(set(strata)) == 1:
        return Mean(value, *wilson(value * fewest, fewest), fewest, fewest)
    if fewest == 1:
        return Mean(value, *wilson(value, 1), len(values), 1)
    trials = _effective_trials(values, weights, strata, clusters)
    low, high = wilson(value * trials, trials, t_quantile(fewest - 1))
    return Mean(value, low, high, len(values), fewest)


def _effective_trials(
    values: Sequence[float],
    weights: Sequence[float],
    strata: Clusters,
    clusters: Sequence[Clusters],
) -> float:
    """Return the number of independent trials that are as informative as the clustered values."""
    n, sizes = len(values), Counter(strata)
    size = _size(clusters, n)
    sums: defaultdict[Hashable, float] = defaultdict(float)
    shares: defaultdict[Hashable, float] = defaultdict(float)
    for value, weight, stratum in zip(values, weights, strata, strict=True):
        sums[stratum] += value
        shares[stratum] += weight
    added = {stratum: PRIOR * size * m / n for stratum, m in sizes.items()}
    means = {one: (sums[one] + added[one]) / (sizes[one] + 2 * added[one]) for one in sizes}
    middle = math.fsum(shares[one] * mean for one, mean in means.items())
    single = math.fsum(
        shares[one] ** 2 * mean * (1 - mean) / sizes[one] for one, mean in means.items()
    )
    off = [value - means[stratum] for value, stratum in zip(values, strata, strict=True)]
    spread = PRIOR * size * (middle**2 + (1 - middle) ** 2)
    effect = (_error(off, clusters) ** 2 + size * spread) / (math.fsum(d * d for d in off) + spread)
    effect = min(max(effect, 1.0), n / _fewest(clusters, n))
    return middle * (1 - middle) / (single * effect)


def _weights(strata: Clusters, standard: Mapping[Hashable, float] | None) -> list[float]:
    """Return the weight of each value; the weights sum to 1."""
    sizes = Counter(strata)
    shares = dict.fromkeys(sizes, 1.0) if standard is None else dict(standard)
    if empty := [name for name, share in shares.items() if share and not sizes[name]]:
        raise ValueError(f"stratum {empty[0]!r} of the standard has no value")
    whole = sum(shares.values())
    return [shares.get(name, 0.0) / whole / sizes[name] for name in strata]


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust the p values of one table for their number (Holm 1979), in the given order."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> Correlation:
    """Correlate two rankings of the same things (Spearman).

    The interval is Fisher's with the variance of Bonett and Wright, Psychometrika 65 (2000), 23-28;
    (-1, 1) for fewer than four things. If all ranks agree, its lower end is that of the ranking
    with two neighbours swapped.

    Raises:
        ValueError: The lists have different lengths.
    """
    from scipy.stats import spearmanr

    n = len(list(zip(one, other, strict=True)))
    if n < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        return Correlation(math.nan, -1.0, 1.0, n, 1.0)
    value, p = map(float, spearmanr(one, other))
    if n < 4:
        return Correlation(value, -1.0, 1.0, n, p)
    most = 1 - 12 / (n * (n * n - 1))  # two neighbours swapped
    inner = max(-most, min(most, value))
    half = Z * math.sqrt((1 + inner * inner / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inner) + side) for side in (-half, half))
    return Correlation(value, min(low, value), max(high, value), n, p)


def kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> Agreement:
    """Return Cohen's kappa of two raters' labels for the same things.

    The interval is that of Fleiss, Cohen and Everitt, Psychological Bulletin 72 (1969), 323-327;
    (-1, 1) if the labels have no spread, for example if all agree.

    Raises:
        ValueError: The lists have different lengths.
    """
    pairs = Counter(zip(one, other, strict=True))
    n, agreed = pairs.total(), sum(count for (a, b), count in pairs.items() if a == b)
    first, second = Counter(one), Counter(other)
    chance = sum(first[label] * second[label] for label in first) / (n * n or 1)
    if not n or chance == 1:
        return Agreement(math.nan, -1.0, 1.0, n, agreed)
    observed = agreed / n
    value = (observed - chance) / (1 - chance)
    spread = -((observed * chance - 2 * chance + observed) ** 2)
    for (a, b), count in pairs.items():
        if a == b:
            weight = 1 - chance - (first[a] + second[a]) / n * (1 - observed)
        else:
            weight = (second[a] + first[b]) / n * (1 - observed)
        spread += count / n * weight**2
    half = Z * math.sqrt(spread / n) / (1 - chance) ** 2 if spread > 1e-12 else 2.0
    return Agreement(value, max(value - half, -1.0), min(value + half, 1.0), n, agreed)


def two_sample_t(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the two-sided p value of Student's t test, which assumes independent values.

    None if there are too few values, or all are equal.
    """
    from scipy.stats import ttest_ind

    if min(len(one), len(other)) < 2 or len({*one, *other}) < 2:
        return None
    p = float(ttest_ind([float(v) for v in one], [float(v) for v in other]).pvalue)
    return None if math.isnan(p) else p


def mcnemar(treated: Sequence[bool], control: Sequence[bool], weight: float = 1.0) -> float:
    """Return the exact two-sided p value of equal chances for the discordant pairs.

    `weight` is the share of a pair that each of them counts for. Fractions enter the binomial sum
    through the incomplete beta function.
    """
    from scipy.special import betainc

    pairs = list(zip(treated, control, strict=True))
    gained = weight * sum(one and not other for one, other in pairs)
    lost = weight * sum(other and not one for one, other in pairs)
    if gained == lost:
        return 1.0
    return min(1.0, 2 * float(betainc(max(gained, lost), min(gained, lost) + 1, 0.5)))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return an unbiased estimate of the chance that one of `k` draws is correct.

    Chen et al., Evaluating Large Language Models Trained on Code (2021), equation 1.

    Raises:
        ValueError: `k` is not from 1 to `n`, or `correct` not from 0 to `n`.
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(
            f"pass@{k} of {correct} correct in {n} draws is undefined; give k from 1 to n"
        )
    return 1 - math.comb(n - correct, k) / math.comb(n, k)


@cache
def t_quantile(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit  # `scipy.stats` would take seconds to import

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _t_test(ratio: float, freedom: int) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(ratio)))


def _fewest(clusters: Sequence[Clusters], n: int) -> int:
    """Count the clusters of the grouping with the fewest; without a grouping, count the cases."""
    return min((len(set(way)) for way in clusters), default=n)


def _size(clusters: Sequence[Clusters], n: int) -> float:
    """Return the mean size of the clusters of the grouping with the most."""
    return n / max((len(set(way)) for way in clusters), default=n)


def _error(residuals: Sequence[float], clusters: Sequence[Clusters]) -> float:
    """Return the standard error of a sum, given what each weighted case is off its mean by."""
    ways = clusters or [range(len(residuals))]
    squares = [_square(residuals, way) for way in ways]
    total = squares[0]
    if len(ways) == 2:
        both = _square(residuals, list(zip(*ways, strict=True)))
        total = max(squares[0] + squares[1] - both, *squares)  # the sum can fall below either
    error = math.sqrt(total)
    return error if error > 1e-12 else 0.0


def _square(residuals: Sequence[float], clusters: Clusters) -> float:
    totals: defaultdict[Hashable, float] = defaultdict(float)
    for residual, cluster in zip(residuals, clusters, strict=True):
        totals[cluster] += residual
    if len(totals) < 2:
        return 0.0
    return math.fsum(total**2 for total in totals.values()) * len(totals) / (len(totals) - 1)


def _paired_interval(pairs: Iterable[tuple[bool, bool]], weight: float = 1.0) -> Interval:
    """Return Newcombe's interval; `weight` is how much of a pair each of them counts for."""
    counts = Counter((bool(one), bool(other)) for one, other in pairs)
    both, gained = weight * counts[True, True], weight * counts[True, False]
    lost, neither = weight * counts[False, True], weight * counts[False, False]
    n = both + gained + lost + neither
    product = both * neither - gained * lost
    if product > 0:
        product = max(product - n / 2, 0.0)  # his continuity correction
    sides = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    correlation = product / math.sqrt(sides) if sides else 0.0
    return _hybrid(_share(both + gained, n), _share(both + lost, n), correlation)


def _share(k: float, n: float) -> Mean:
    low, high = wilson(k, n)
    return Mean(k / n if n else math.nan, low, high, round(n), round(n))


def _hybrid(one: Rate | Mean, other: Rate | Mean, correlation: float) -> Interval:
    """Join the intervals of two shares into one of their difference."""
    if not one.n or not other.n:
        return -1.0, 1.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    value = one.value - other.value
    low = value - reach(one.value - one.low, other.high - other.value)
    high = value + reach(one.high - one.value, other.value - other.low)
    return low, high


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _p(p: float) -> str:
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"
