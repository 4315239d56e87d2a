import re
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from collab.core.design import Design
from collab.report.checkpoints import SeriesCheckpoint, differences_table, panels, shares_table
from collab.report.evidence import Trial
from collab.report.tables import print_whole
from collab.scenarios.base import Score


def outcomes(arm: str, by: str, rate: float, each: int = 1) -> list[Score]:
    """Make 40 questions of which a share is solved in all of their cases."""
    return [
        Score(
            f"{n}/{k}",
            f"q{n}",
            "correct" if n < 40 * rate else "wrong",
            *Design.split({"arm": arm, by: 0.2, "pair": f"{n}/{k}"}),
        )
        for n in range(40)
        for k in range(each)
    ]


def checkpoint(series: str, name: str, *rates: float, each: int = 1) -> SeriesCheckpoint:
    alone, steered, guided = rates
    scores = {
        "solo": outcomes("solo", "level", alone, each),
        "recoverability": outcomes("steer", "at", steered, each),
        "guidability": outcomes("steer", "length", guided, each) if guided else [],
    }
    return SeriesCheckpoint(
        series, name, {run: Trial(name, False, of, {}) for run, of in scores.items()}
    )


def lines(table: Table) -> list[list[str]]:
    out = StringIO()
    print_whole(Console(file=out, width=80), table)
    return [re.split(r" {2,}", line.strip()) for line in out.getvalue().splitlines()[2:]]


TWO = [
    checkpoint("am", "step_1", 0.5, 0.2, 0.1),
    checkpoint("am", "step_2", 0.8, 0.3, 0.0),
    checkpoint("qwq", "step_1", 0.5, 0.9, 0.1),
    checkpoint("qwq", "step_2", 0.8, 0.95, 0.2),
]


def test_each_measure_is_a_panel_with_a_curve_a_series() -> None:
    benchmark, recovers, guided, against = panels(TWO)
    assert [one.name for one in recovers.series] == ["am", "qwq"]
    assert [(p.x, round(p.y)) for p in recovers.series[0].points] == [
        ("step_1", 20),
        ("step_2", 30),
    ]
    assert [p.x for p in guided.series[0].points] == ["step_1"]  # nothing was guided at step_2
    assert [(p.x, round(p.y)) for p in against.series[1].points] == [(50.0, 90), (80.0, 95)]
    assert benchmark.title == "Benchmark"


def test_series_are_compared_step_by_step_by_both_tests() -> None:
    rows = lines(differences_table(TWO))
    assert [row[:2] for row in rows] == [
        ["am step_1 - qwq step_1", "benchmark"],
        ["am step_1 - qwq step_1", "recoverability"],
        ["am step_1 - qwq step_1", "guidability"],
        ["am step_2 - qwq step_2", "benchmark"],
        ["am step_2 - qwq step_2", "recoverability"],
    ]
    assert rows[0][2:] == ["+0.0 [-21,+21]", "1", "1"]
    assert rows[1][2].startswith("-70.0* [")
    assert rows[1][4] == "<.001"


def test_a_single_series_is_compared_with_the_checkpoint_before() -> None:
    rows = lines(differences_table(TWO[:2]))
    assert [row[0] for row in rows] == ["am step_2 - am step_1"] * 2


def test_a_difference_that_the_t_test_owes_to_repeated_questions_is_not_marked() -> None:
    one = checkpoint("am", "s", 0.5, 0.4, 0.0, each=8)
    other = checkpoint("qwq", "s", 0.5, 0.55, 0.0, each=8)
    (_, row) = lines(differences_table([one, other]))
    assert "*" not in row[2]
    assert float(row[3]) > 0.05
    assert row[4] == "<.001"


def test_every_checkpoint_has_its_numbers() -> None:
    rows = lines(shares_table(TWO))
    assert rows[1][:3] == ["am", "step_2", rows[1][2]]
    assert rows[1][2].startswith("80.0 [")
    assert rows[1][4] == "–"


@pytest.mark.parametrize("values", [([1.0], [0.0, 1.0]), ([1.0, 1.0], [1.0, 1.0])])
def test_a_t_test_of_too_little_says_nothing(values: tuple[list[float], list[float]]) -> None:
    from collab.analysis.stats import two_sample_t

    assert two_sample_t(*values) is None
