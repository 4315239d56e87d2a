import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from collab.analysis.stats import (
    PRIOR,
    Groups,
    Mean,
    Rate,
    clustered_mean,
    difference,
    grouped_change,
    grouped_effect,
    holm,
    kappa,
    mcnemar,
    paired_effect,
    pass_at_k,
    rank_correlation,
    t_quantile,
    wilson,
)


def _pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    treated = [True] * (both + gained) + [False] * (lost + neither)
    control = [True] * both + [False] * gained + [True] * lost + [False] * neither
    return treated, control


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_rate_has_the_published_interval(k: int, n: int, low: float, high: float) -> None:
    rate = Rate(k, n)
    assert (round(rate.low, 4), round(rate.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("treated", "control", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10
        (Rate(56, 70), Rate(48, 80), 0.0524, 0.3339),
        (Rate(9, 10), Rate(3, 10), 0.1705, 0.8090),
    ],
)
def test_a_difference_of_rates_has_the_published_interval(
    treated: Rate, control: Rate, low: float, high: float
) -> None:
    effect = difference(treated, control)
    assert (round(effect.low, 4), round(effect.high, 4)) == (low, high)
    assert effect.value == treated.value - control.value


def test_a_paired_effect_is_method_10_of_newcombe() -> None:
    treated, control = _pairs(20, 12, 2, 16)
    effect = paired_effect(treated, control, range(50))
    assert (effect.value, round(effect.low, 4), round(effect.high, 4)) == (0.2, 0.0562, 0.3292)
    assert effect.p == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    assert effect.test == "exact McNemar"
    assert str(effect) == "+20.0 pp [+5.6, +32.9] (n=50, p=0.013)"


def test_swapping_the_sides_mirrors_a_paired_effect() -> None:
    treated, control = _pairs(1, 1, 7, 12)
    one, other = (
        paired_effect(*sides, range(21)) for sides in ((treated, control), (control, treated))
    )
    assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))


def test_pairs_without_a_difference_still_leave_doubt() -> None:
    same = [True, False] * 20
    effect = paired_effect(same, same, range(40))
    assert (effect.value, effect.p) == (0, 1)
    assert effect.low < -0.01
    assert effect.high > 0.01


def test_repeating_every_pair_does_not_narrow_the_interval() -> None:
    treated, control = _pairs(20, 12, 2, 16)
    once = paired_effect(treated, control, range(50))
    thrice = paired_effect(treated * 3, control * 3, list(range(50)) * 3)
    assert (thrice.n, thrice.clusters, thrice.value) == (150, 50, once.value)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)
    assert thrice.test == "cluster t"


def test_the_cluster_robust_interval_equals_one_computed_by_hand() -> None:
    # differences 1, 0 | 1, 1 | 0, 0; mean 1/2; totals of residuals 0, 1, -1
    # squared error: 3 / 2 * (0 + 1 + 1) / 36 = 1 / 12; t(2) = 4.302653
    # added: an eighth of a cluster of two, of gains and of losses: (1/2**2 + 3/2**2) / 2 / 36
    treated, control = [True, False, True, True, False, True], [False] * 5 + [True]
    effect = paired_effect(treated, control, list("aabbcc"))
    error = math.sqrt(1 / 12 + (1 / 4 + 9 / 4) / 2 / 36)
    assert effect.low == pytest.approx(max(0.5 - 4.302653 * error, -1.0))
    assert effect.high == 1.0
    # with 2 degrees of freedom: p = 1 - T / sqrt(2 + T**2)
    ratio = 0.5 / error
    assert effect.p == pytest.approx(1 - ratio / math.sqrt(2 + ratio**2))


@pytest.mark.parametrize("clusters", ["aaaa", "aabb"])
def test_clusters_that_do_not_differ_leave_the_doubt_of_so_few_pairs(clusters: str) -> None:
    effect = paired_effect([True] * 4, [True] * 4, clusters)
    few = len(set(clusters))
    alone = paired_effect([True] * few, [True] * few, range(few))
    assert (effect.value, effect.p) == (0, 1)
    assert (effect.low, effect.high) == (alone.low, alone.high)


def test_a_side_at_100_percent_leaves_the_doubt_of_so_few_clusters() -> None:
    treated, control = [False] * 120, [True] * 119 + [False]
    effect = paired_effect(treated, control, [index // 8 for index in range(120)])
    assert effect.value == pytest.approx(-119 / 120)
    assert effect.clusters == 15
    assert effect.high > -0.8  # the t interval would end at -0.97
    assert effect.p is not None
    assert effect.p < 0.001


@pytest.mark.parametrize("lost", range(0, 37, 3))
def test_beside_a_side_at_100_percent_test_and_interval_say_the_same(lost: int) -> None:
    # three cases a question, so that whole questions are lost: as 12 pairs say it
    treated, control = [n >= lost for n in range(36)], [True] * 36
    effect = paired_effect(treated, control, [n // 3 for n in range(36)])
    alone = paired_effect(treated[::3], control[::3], range(12))
    assert (effect.low, effect.high, effect.p) == pytest.approx((alone.low, alone.high, alone.p))
    assert effect.p is not None
    assert (effect.p < 0.05) <= (effect.high < 0)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_effect([True], [], ["a"])


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (30, 2.0423), (1000, 1.9623)],
)
def test_t_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert round(t_quantile(freedom), 4) == quantile


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_an_effect_lies_in_its_interval_and_that_in_the_possible(
    both: int, gained: int, lost: int, neither: int
) -> None:
    treated, control = _pairs(both, gained, lost, neither)
    n = len(treated)
    for clusters in (range(n), [index // 2 for index in range(n)]):
        effect = paired_effect(treated, control, clusters)
        assert not n or -1 <= effect.low <= effect.value <= effect.high <= 1 + 1e-12
        assert effect.p is None or 0 <= effect.p <= 1


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs() -> None:
    assert mcnemar(*_pairs(5, 0, 6, 5)) == 2 / 64
    assert mcnemar(*_pairs(9, 3, 3, 1)) == 1
    assert mcnemar(*_pairs(9, 0, 0, 1)) == 1
    assert mcnemar(*_pairs(0, 5000, 4000, 0)) < 1e-20
    assert mcnemar(*_pairs(9, 0, 7, 1), weight=0.5) == pytest.approx(2 * 2**-3.5)


@pytest.mark.parametrize(
    ("n", "correct", "k", "value"),
    [(8, 1, 1, 1 / 8), (8, 2, 4, 1 - 15 / 70), (5, 3, 3, 1.0), (8, 0, 8, 0.0), (4, 1, 2, 0.5)],
)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_draw(
    n: int, correct: int, k: int, value: float
) -> None:
    assert pass_at_k(n, correct, k) == pytest.approx(value)


def test_pass_at_k_needs_k_draws() -> None:
    with pytest.raises(ValueError, match="k from 1 to n"):
        pass_at_k(4, 1, 5)


def test_a_mean_of_cases_that_share_nothing_is_a_rate() -> None:
    mean = clustered_mean([1.0] * 12 + [0.0] * 28, range(40))
    assert (mean.low, mean.high) == pytest.approx(wilson(12, 40))
    assert str(mean) == str(Rate(12, 40))


def test_a_cluster_of_equal_draws_counts_as_one_trial() -> None:
    outcomes = [float(index % 3 == 0) for index in range(30) for _ in range(8)]
    clusters = [index for index in range(30) for _ in range(8)]
    mean = clustered_mean(outcomes, clusters)
    assert (mean.n, mean.clusters) == (240, 30)
    assert (mean.low, mean.high) == pytest.approx(wilson(10, 30, t_quantile(29)), abs=0.005)


def test_two_ways_of_clustering_widen_what_either_alone_gives() -> None:
    rng = Random(3)
    hard = [rng.random() for _ in range(20)]
    cruel = [rng.random() for _ in range(10)]
    cells = [(q, d) for q in range(20) for d in range(10)]
    outcomes = [float(hard[q] + cruel[d] > 1) for q, d in cells]
    questions, traces = [q for q, _ in cells], [d for _, d in cells]
    both = clustered_mean(outcomes, questions, traces)
    for way in (questions, traces):
        alone = clustered_mean(outcomes, way)
        assert both.low < alone.low < alone.high < both.high
    assert both.clusters == 10
    turned = clustered_mean(outcomes, traces, questions)
    assert (turned.low, turned.high) == pytest.approx((both.low, both.high))


def test_a_macro_average_gives_each_stratum_the_same_weight() -> None:
    outcomes, strata = [1.0] * 90 + [0.0] * 10 + [1.0, 0.0], ["large"] * 100 + ["small"] * 2
    macro = clustered_mean(outcomes, range(102), strata=strata)
    assert macro.value == pytest.approx((0.9 + 0.5) / 2)
    assert macro.high - macro.low > 0.4  # the small one decides how sure it is
    assert clustered_mean(outcomes, range(102)).value == pytest.approx(91 / 102)


def test_a_standardised_mean_weighs_strata_as_the_standard_does() -> None:
    outcomes, solved = [1.0, 0.0, 1.0, 1.0], [1, 1, 8, 8]
    mean = clustered_mean(outcomes, range(4), strata=solved, standard={1: 3, 8: 1})
    assert mean.value == pytest.approx(0.75 * 0.5 + 0.25 * 1)
    with pytest.raises(ValueError, match="stratum 4 of the standard has no value"):
        clustered_mean(outcomes, range(4), strata=solved, standard={1: 1, 4: 1})


def test_holm_adjusts_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_rank_correlation_has_its_interval() -> None:
    found = rank_correlation(range(10), [0, 2, 1, 4, 3, 6, 5, 8, 7, 9])
    assert found.value == pytest.approx(1 - 6 * 8 / 990)
    half = 1.959964 * math.sqrt((1 + found.value**2 / 2) / 7)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.value) - half))
    assert found.p < 0.001
    agreed = rank_correlation(range(10), range(10))
    assert (agreed.value, agreed.high) == pytest.approx((1, 1))
    assert found.low < agreed.low < 1
    few = rank_correlation([1, 2, 3], [1, 3, 2])
    assert (few.low, few.high) == (-1, 1)
    assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)


def test_rates_that_are_not_matched_are_tested_at_their_numbers() -> None:
    apart = difference(Rate(121, 200), Rate(88, 200))
    assert apart.p == pytest.approx(0.000955, rel=0.01)  # the score test's
    assert difference(Rate(0, 9), Rate(0, 9)).p == 1
    assert difference(Rate(1, 2), Rate(0, 0)).p is None


@given(*[st.integers(0, 12)] * 4, st.integers(1, 6))
def test_a_difference_is_significant_where_its_interval_leaves_zero_out(
    a: int, b: int, c: int, d: int, size: int
) -> None:
    sides = [[1.0] * (k * size) + [0.0] * (m * size) for k, m in ((a, b), (c, d)) if k + m]
    means = [clustered_mean(side, [n // size for n in range(len(side))]) for side in sides]
    if len(means) == 2:
        effect = difference(*means)
        assert effect.p is not None
        assert (effect.p < 0.05) == (effect.low > 0 or effect.high < 0)


def test_a_mean_of_equal_clusters_is_as_sure_as_one_trial_each() -> None:
    mean = clustered_mean([1.0] * 80, [index % 10 for index in range(80)])
    assert (mean.low, mean.high) == pytest.approx(wilson(10, 10, t_quantile(9)))


@pytest.mark.parametrize("clusters", [10, 25, 60])
def test_from_no_success_to_one_an_interval_changes_by_little(clusters: int) -> None:
    names = [index % clusters for index in range(8 * clusters)]
    none, one, two = (
        clustered_mean([1.0] * k + [0.0] * (len(names) - k), names).high for k in range(3)
    )
    assert 0.75 < one / none < 1.35
    assert 0.75 < two / one < 1.35
    assert clustered_mean([0.0] * len(names), names).low == 0.0


def test_numbers_are_written_with_their_doubt() -> None:
    assert str(Rate(64, 100)) == "64.0 % [54.2, 72.7] (n=100)"
    assert str(clustered_mean([0.0, 1.0, 1.0, 1.0], "aabb")).endswith("(n=4, 2 clusters)")
    assert str(difference(Rate(9, 10), Rate(3, 10))) == "+60.0 pp [+17.1, +80.9] (n=20, p=0.006)"


def test_nothing_counted_is_written_as_a_dash() -> None:
    for nothing in (Rate(0, 0), clustered_mean([], []), paired_effect([], [], [])):
        assert str(nothing) == "– (n=0)"
        assert math.isnan(nothing.value)
    assert (Rate(0, 0).low, Rate(0, 0).high) == (0.0, 1.0)
    assert difference(Rate(1, 2), Rate(0, 0)).low == -1


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5)])
def test_an_impossible_rate_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"give 0 to \d successes"):
        Rate(k, n)


def test_the_numbers_are_those_of_statsmodels() -> None:
    """The package itself stays light: this library brings pandas, and is here to compare with."""
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    table = pytest.importorskip("statsmodels.stats.contingency_tables")
    assert wilson(12.5, 40.5) == pytest.approx(
        proportion.proportion_confint(12.5, 40.5, method="wilson")
    )
    found = difference(Rate(56, 70), Rate(48, 80))
    ours = proportion.confint_proportions_2indep(56, 70, 48, 80, method="newcomb")
    assert (found.low, found.high) == pytest.approx(ours)
    score = proportion.test_proportions_2indep(56, 70, 48, 80, method="score", correction=False)
    assert found.p == pytest.approx(score.pvalue, rel=0.25)
    ps = [0.01, 0.04, 0.03, 0.005, 0.2]
    assert holm(ps) == pytest.approx(multitest.multipletests(ps, method="holm")[1])
    treated, control = _pairs(20, 12, 2, 16)
    assert mcnemar(treated, control) == pytest.approx(
        table.mcnemar([[20, 12], [2, 16]], exact=True).pvalue
    )


def test_the_error_of_two_ways_of_clustering_is_that_of_statsmodels() -> None:
    regression = pytest.importorskip("statsmodels.regression.linear_model")
    rng = Random(5)
    cells = [(q, d) for q in range(12) for d in range(9) if rng.random() < 0.7]
    hard = {("q", n): rng.random() for n in range(12)} | {("d", n): rng.random() for n in range(9)}
    gains = [hard["q", q] + hard["d", d] > 1 for q, d in cells]
    before = [(q + d) % 7 == 0 for q, d in cells]
    changes = np.array(gains, float) - np.array(before, float)
    fitted = regression.OLS(changes, np.ones(len(cells))).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(cells)}
    )
    effect = paired_effect(gains, before, *zip(*cells, strict=True))
    error = (effect.high - effect.value) / t_quantile(8)
    added = PRIOR / 4 / 12**2 * ((1 - effect.value) ** 2 + (1 + effect.value) ** 2)
    assert error == pytest.approx(math.sqrt(float(fitted.bse[0]) ** 2 + added))


def _chances(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize("n", [20, 50, 200])
def test_wilsons_interval_covers_95_percent_averaged_over_the_rates(n: int) -> None:
    rates = [(step + 0.5) / 50 for step in range(50)]
    intervals = [wilson(k, n) for k in range(n + 1)]
    covered = [
        sum(
            chance
            for chance, (low, high) in zip(_chances(n, p), intervals, strict=True)
            if low <= p <= high
        )
        for p in rates
    ]
    assert sum(covered) / len(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.85


@pytest.mark.parametrize(("one", "other", "n"), [(0.3, 0.5, 30), (0.9, 0.6, 40), (0.5, 0.5, 25)])
def test_the_interval_of_a_difference_covers_95_percent(one: float, other: float, n: int) -> None:
    covered = 0.0
    for k, chance in enumerate(_chances(n, one)):
        for j, other_chance in enumerate(_chances(n, other)):
            effect = difference(Rate(k, n), Rate(j, n))
            covered += chance * other_chance * (effect.low <= one - other <= effect.high)
    assert covered == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("draws", "seed"), [(1, 7), (4, 8)])
def test_paired_effects_cover_95_percent(draws: int, seed: int) -> None:
    """Questions differ in difficulty, so that the draws of one go together."""
    rng = Random(seed)
    effect, covered, runs = -0.15, 0, 1000
    clusters = [question for question in range(60) for _ in range(draws)]
    for _ in range(runs):
        treated, control = [], []
        for _ in range(60):
            ease, harm = rng.uniform(0.3, 0.9), rng.choice([0.0, -2 * effect])
            for _ in range(draws):
                control.append(rng.random() < ease)
                treated.append(rng.random() < ease - harm)
        found = paired_effect(treated, control, clusters)
        covered += found.low <= effect <= found.high
    assert 0.93 <= covered / runs <= 0.975


def test_a_mean_of_repeated_draws_covers_95_percent_where_wilson_does_not() -> None:
    rng = Random(9)
    covered = naive = 0
    clusters = [question for question in range(60) for _ in range(8)]
    for _ in range(600):
        eases = [rng.choice([0.1, 0.5, 0.9]) for _ in range(60)]
        outcomes = [float(rng.random() < eases[question]) for question in clusters]
        mean, rate = clustered_mean(outcomes, clusters), Rate(int(sum(outcomes)), len(outcomes))
        covered += mean.low <= 0.5 <= mean.high
        naive += rate.low <= 0.5 <= rate.high
    assert covered / 600 == pytest.approx(0.95, abs=0.025)
    assert naive / 600 < 0.85
    assert isinstance(mean, Mean)


def test_questions_tried_once_on_both_sides_are_compared_as_pairs() -> None:
    treated, control = _pairs(20, 12, 2, 16)
    ones = {f"{n}": [float(value)] for n, value in enumerate(treated)}
    others = {f"{n}": [float(value)] for n, value in enumerate(control)}
    assert grouped_effect(ones, others) == paired_effect(treated, control)


def test_questions_tried_unequally_often_count_once_each() -> None:
    treated: Groups = {"a": [1, 1, 0], "b": [1], "c": [0.5], "only here": [1.0]}
    control: Groups = {"a": [0, 1, 0, 0], "b": [1], "c": [0], "only there": [1.0]}
    differences = [2 / 3 - 1 / 4, 0.0, 0.5]
    effect = grouped_effect(treated, control)
    reference = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (effect.n, effect.clusters) == (3, 3)
    assert effect.value == pytest.approx(sum(differences) / 3)
    assert (effect.low, effect.high) == pytest.approx((reference.low, min(reference.high, 1)))
    assert effect.p == pytest.approx(ttest_1samp(differences, 0).pvalue)


def test_questions_that_all_differ_alike_keep_a_wide_interval_and_no_test() -> None:
    effect = grouped_effect({f"{n}": [1, 1] for n in range(5)}, {f"{n}": [1] for n in range(5)})
    assert (effect.value, effect.p) == (0, None)
    assert effect.low < -0.3
    assert grouped_effect({}, {"a": [1]}).n == 0


def test_a_change_is_a_ratio_of_means_with_an_interval_that_covers_it() -> None:
    rng, covered, rounds = Random(1), 0, 400
    for _ in range(rounds):
        sizes = [rng.lognormvariate(4, 0.6) for _ in range(30)]
        control = {f"{n}": [size * rng.lognormvariate(0, 0.2)] for n, size in enumerate(sizes)}
        treated = {
            f"{n}": [0.8 * size * rng.lognormvariate(0, 0.2)] for n, size in enumerate(sizes)
        }
        change = grouped_change(treated, control)
        covered += change.low < -0.2 < change.high
    assert 0.92 * rounds < covered < 0.98 * rounds
    assert str(change).startswith(f"{100 * change.value:+.1f} % [")


def test_a_change_of_nothing_is_unknown() -> None:
    assert grouped_change({}, {}).clusters == 0
    assert str(grouped_change({"a": [1]}, {"a": [0]})) == "– (n=0)"
    one = grouped_change({"a": [2]}, {"a": [1]})
    assert (one.value, one.low, one.high, one.p) == (1, -1, math.inf, None)


def test_kappa_is_that_of_statsmodels() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    rng = Random(2)
    for _ in range(20):
        one = [rng.choice("abc") for _ in range(40)]
        other = [said if rng.random() < 0.6 else rng.choice("abcd") for said in one]
        table = np.zeros((4, 4))
        for pair in zip(one, other, strict=True):
            table[tuple(map("abcd".index, pair))] += 1
        found, known = kappa(one, other), cohens_kappa(table)
        assert found.value == pytest.approx(known.kappa)
        assert (found.low, found.high) == pytest.approx((known.kappa_low, known.kappa_upp))
        assert (found.n, found.agreed) == (40, np.trace(table))


def test_kappa_without_spread_is_wide_and_without_two_labels_unknown() -> None:
    found = kappa("abab", "abab")
    assert (found.value, found.low, found.high) == (1, -1, 1)
    assert str(found) == "1.00 [-1.00, 1.00] (n=4)"
    assert str(kappa("aaa", "aaa")) == "– (n=3)"
    assert str(kappa([], [])) == "– (n=0)"


def _world(rng: Random, questions: int, draws: int, share: float, together: float) -> list[float]:
    """Draw outcomes whose questions have beta-distributed rates of a given correlation."""
    a, b = (part * (1 - together) / together for part in (share, 1 - share))
    rates = [rng.betavariate(a, b) for _ in range(questions)]
    return [float(rng.random() < rate) for rate in rates for _ in range(draws)]


def _coverage(runs: int, questions: int, draws: int, share: float, together: float) -> float:
    rng = Random(f"{questions} {draws} {share} {together}")
    names = [question for question in range(questions) for _ in range(draws)]
    found = (
        clustered_mean(_world(rng, questions, draws, share, together), names) for _ in range(runs)
    )
    return sum(mean.low <= share <= mean.high for mean in found) / runs


CELLS = [
    (questions, draws, share, together)
    for questions in (25, 60)
    for draws, together in ((3, 0.3), (8, 0.5), (8, 0.9))
    for share in (0.03, 0.1, 0.5, 0.97)
]


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_a_rare_success_is_covered_although_questions_repeat(share: float) -> None:
    assert _coverage(300, 25, 8, share, 0.5) > 0.92


@pytest.mark.long
def test_means_cover_95_percent_over_rates_and_no_cell_falls_below_92() -> None:
    from scipy.stats import binomtest

    runs = 2_000
    covered = {cell: _coverage(runs, *cell) for cell in CELLS}
    assert 0.94 <= sum(covered.values()) / len(covered) <= 0.985, covered
    odds = [
        binomtest(round(share * runs), runs, 0.92, alternative="less").pvalue
        for share in covered.values()
    ]
    assert min(holm(odds)) > 0.05, covered
