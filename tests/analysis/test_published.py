from collections import defaultdict
from statistics import mean

import pytest

from collab.analysis.published import Published, published
from collab.analysis.stats import Rate
from collab.scenarios.published_systems import Sense, SystemClaim, claims, systems


def test_all_the_papers_tables_are_there() -> None:
    assert sorted({number.table for number in published()}) == [1, 2, *range(4, 18)]
    maths = {n.model for n in published(4)}
    assert len(maths) == 15
    assert {n.model for n in published(5)} == maths - {"LIMO-32B"}
    assert {n.model for n in published(15)} == {n.model for n in published(14)}
    assert len({n.model for n in published(15)}) == 10


def test_headline_numbers_are_those_in_print() -> None:
    shared = [n for n in published(1, measure="recoverability") if n.subset == "shared"]
    maths = [n.value for n in shared if n.domain == "maths"]
    assert round(mean(maths), 1) == 74.9
    assert round(mean(n.value for n in shared if n.domain == "code"), 1) == 59.1
    guided = [n.value for n in published(15) if n.level == "mean"]
    assert max(guided) == 9.2


@pytest.mark.parametrize("table", [6, 7, 8, 10, 14, 15, 17])
def test_a_rows_mean_is_that_of_its_cells_or_is_noted(table: int) -> None:
    cells: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    means: dict[tuple[str, str], Published] = {}
    for number in published(table):
        if number.level == "mean":
            means[number.model, number.measure] = number
        else:
            cells[number.model, number.measure].append(number.value)
    assert cells.keys() == means.keys()
    for row, values in cells.items():
        off = abs(mean(values) - means[row].value)
        assert off <= 0.16 or "its cells average" in means[row].note, row


def test_the_n_of_a_cell_fits_its_value_or_the_misprint_is_noted() -> None:
    for number in published():
        if number.n is not None and not number.note:
            successes = number.value * number.n / 100
            assert abs(successes - round(successes)) < 0.0006 * number.n, number


def test_ours_is_compared_by_the_difference_at_the_published_n() -> None:
    (theirs,) = [n for n in published(6, model="R1-Qwen-1.5B") if n.level == "0"]
    assert (theirs.value, theirs.n) == (44.0, 200)
    effect = theirs.compared(Rate(57, 100))
    assert effect is not None
    assert effect.value == pytest.approx(0.13)
    assert effect.low < 0.13 < effect.high
    assert published(12)[0].compared(Rate(1, 2)) is None


def test_every_system_that_is_played_has_claims_with_their_source() -> None:
    assert set(systems()) >= {"SpecReason", "SplitReason", "RelayLLM", "s1", "CoThink"}
    assert all(claim.printed and claim.source for name in systems() for claim in claims(name))
    assert claims("nobody") == []


@pytest.mark.parametrize(
    ("sense", "low", "high", "verdict"),
    [
        ("more", 0.01, 0.2, "agrees"),
        ("more", -0.1, 0.2, "undecided"),
        ("more", -0.3, -0.1, "disagrees"),
        ("less", -0.3, -0.1, "agrees"),
        ("less", 0.1, 0.2, "disagrees"),
        ("same", -0.04, 0.05, "agrees"),
        ("same", -0.04, 0.06, "undecided"),
        ("same", 0.06, 0.1, "disagrees"),
    ],
)
def test_a_claim_is_met_where_the_whole_interval_lies_on_its_side(
    sense: Sense, low: float, high: float, verdict: str
) -> None:
    assert SystemClaim("x", "solved", "main alone", sense, "", "").met(low, high) == verdict
