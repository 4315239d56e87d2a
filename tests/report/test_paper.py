import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from io import StringIO

import pytest
from rich.console import Console

from collab.analysis.published import published
from collab.core.design import Design, Label
from collab.report.claims import CLAIMS
from collab.report.evidence import Trial
from collab.report.paper import COUNTED, RUNS, TABLES, VIEWS, runs_of, views
from collab.report.paper_tables import paper_tables, recovery_figure
from collab.report.tables import print_whole
from collab.scenarios.base import Score

POINTS = (0.0, 0.2, 0.4)
SHARES = (0.2, 0.8)


def score(question: int, arm: str, right: bool, case: str, **labels: Label) -> Score:
    fields: dict[str, Label] = {"arm": arm, **labels}
    return Score(case, f"q{question}", "correct" if right else "wrong", *Design.split(fields))


def recovering(
    rates: Sequence[float], control: float = 1.0, originals: int = 60, **labels: Label
) -> list[Score]:
    """Make originals of which a share recovers at each point, with their controls."""
    made = []
    for nth in range(originals):
        for at, rate in zip(POINTS, rates, strict=True):
            told: dict[str, Label] = {
                "at": at,
                "pair": f"q{nth}/0/{at:g}",
                "original": 0,
                "solved": 8,
                **labels,
            }
            own = f"{nth}/{at}"
            steered = nth < rate * originals
            made.append(
                score(nth, "steer", steered, f"{own}/s", **told, steer_question=f"d{nth % 20}")
            )
            made.append(score(nth, "none", nth < control * originals, f"{own}/n", **told))
    return made


def guided(
    rates: Sequence[float], control: float = 0.0, forced: float = 0.0, holds: bool = False
) -> list[Score]:
    """Make problems of which a share is solved at each share of the guide's thinking."""
    made = []
    for nth in range(60):
        for order, (length, rate) in enumerate(zip(SHARES, rates, strict=True)):
            told: dict[str, Label] = {
                "length": length,
                "guide": "guide" if nth % 2 else "second",
                "trace": 0,
                "pair": f"q{nth}/{order}",
                "by_all_guides": nth % 3 > 0,
            }
            name = f"q{nth}/m/0/{length:g}"
            right = nth < rate * 60
            made.append(score(nth, "steer", right, name, **told, steer_holds_answer=holds or right))
            made.append(score(nth, "none", nth < control * 60, f"{name}/n", **told))
            made.append(score(nth, "forced", nth < forced * 60, f"{name}/forced", **told))
    return made


def alone(rate: float, questions: int = 60) -> list[Score]:
    return [
        score(n, "solo", n < rate * questions, f"{n}/{d}", level=("easy", "hard")[n % 2])
        for n in range(questions)
        for d in range(8)
    ]


def trial(scores: Sequence[Score], model: str = "m", *, printed: bool = False) -> Trial:
    names = {"main": model, "guide": "strong one", "second": "checking one"}
    return Trial(model, printed, scores, names)


def text(number: int, **evidence: Sequence[Trial]) -> str:
    out = StringIO()
    for table in paper_tables(number, evidence):
        print_whole(Console(file=out, width=80), table)
    return out.getvalue()


def row(shown: str, model: str) -> list[str]:
    (line,) = (line for line in shown.splitlines() if line.strip().startswith(model + "  "))
    return re.split(r" {2,}", line.strip())[1:]


def test_every_table_but_the_prompt_and_figure_4_has_its_runs() -> None:
    assert [1, 2, *range(4, 18)] == TABLES
    assert all(runs_of(table) for table in TABLES)
    assert all(run in RUNS for table in TABLES for run in runs_of(table))


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_is_an_experiments_file(run: object) -> None:
    experiment = getattr(run, "experiment", "")
    assert (files("collab.conf") / "experiment" / f"{experiment}.yaml").is_file()


@pytest.mark.parametrize("view", [v for v in VIEWS if v.table != COUNTED], ids=lambda v: v.title)
def test_what_a_table_shows_is_what_the_paper_prints_there(view: object) -> None:
    (found,) = (v for v in VIEWS if v is view)
    for part in found.parts:
        printed = [
            one
            for one in published(found.table, measure=part.measure)
            if (one.domain, one.subset) == (found.domain, part.subset)
        ]
        assert printed, part
        assert part.whole in {one.level for one in printed} or part.by in ("solved", "guide")


def test_recovery_by_point_has_its_mean_and_its_control() -> None:
    shown = text(6, recoverability_shared=[trial(recovering((0.5, 0.5, 1.0)))])
    cells = row(shown, "m")
    rates = ["50.0", "50.0", "100.0", "66.7", "66.7", "-33.3*"]
    assert [cell.split(" ")[0] for cell in cells] == rates
    assert "Table 6 (App. D), ours" in shown
    assert "published" not in shown


def test_printed_numbers_stand_under_the_same_model_with_the_test_of_the_difference() -> None:
    ours = trial(recovering((0.9, 0.9, 0.9)), "R1-Qwen-1.5B", printed=True)
    other = trial(recovering((0.9, 0.9, 0.9)), "pocket/plain")
    shown = text(6, recoverability_shared=[ours, other])
    assert row(shown, "published") == ["44", "66", "64", "60.6"]
    difference = row(shown, "ours - published")
    assert difference[0].startswith("+46.0* [")
    assert len(difference) == 3  # the mean's n is not printed, so it is not tested


def test_models_with_questions_of_their_own_are_compared_at_equal_solve_counts() -> None:
    hard = recovering((0.2,) * 3, solved=1, originals=90) + recovering((0.8,) * 3, originals=10)
    easy = recovering((0.2,) * 3, solved=1, originals=10) + recovering((0.8,) * 3, originals=90)
    rare = recovering((0.5,) * 3, solved=4, originals=50)
    shown = text(8, recoverability=[trial(hard), trial([*easy, *rare], "n")])
    assert "at equal solve counts" in shown
    one, other = row(shown, "m"), row(shown, "n")
    assert one[-2].startswith("50.0")  # as many hard ones as easy ones, over both models
    assert other[-2].startswith("50.0")
    assert one[-3].startswith("26.0")


def test_solve_counts_are_columns_of_eighths() -> None:
    scores = recovering((0.2, 0.2, 0.2), solved=1) + recovering((0.9, 0.9, 0.9))
    shown = text(9, recoverability=[trial(scores)])
    assert re.search(r"model +1/8 +8/8 +mean", shown)
    assert row(shown, "m")[0].startswith("20.0")


def test_problems_and_trajectories_of_each_guide_are_counted() -> None:
    shown = text(13, guidability=[trial(guided((0.5, 0.5)))])
    assert row(shown, "m") == ["30", "30", "30", "30"]
    assert "problems of strong one" in shown


def test_guides_are_compared_on_problems_that_all_of_them_solve() -> None:
    shown = text(16, guidability=[trial(guided((1.0, 0.0)))])
    assert re.search(r"model +strong one +checking one +mean", shown)
    assert row(shown, "m")[2].startswith("50.0")


def test_steers_that_hold_the_answer_stand_beside_what_is_guided() -> None:
    shown = text(2, guidability=[trial(guided((0.2, 0.4), holds=True))])
    assert [cell.split(" ")[0] for cell in row(shown, "m")] == ["30.0", "100.0", "+30.0*"]


def test_a_model_that_was_not_run_everywhere_has_dashes() -> None:
    shown = text(1, solo=[trial(alone(0.5))], guidability=[trial(guided((0.2, 0.4)), "n")])
    assert row(shown.split("Table 1")[1], "m")[1:] == ["–"] * 4
    assert row(shown.split("Table 1")[1], "n")[:4] == ["–"] * 4


def test_figure_4_has_a_curve_a_model() -> None:
    figure = recovery_figure(
        [trial(recovering((0.5, 0.8, 1.0))), trial(recovering((1, 1, 1)), "n")]
    )
    assert [[point.y for point in one.points] for one in figure.series] == [
        pytest.approx([50.0, 80.0, 100.0]),
        [100.0] * 3,
    ]


def test_printed_points_stand_beside_the_same_model_alone() -> None:
    own = trial(recovering((0.5, 0.8, 1.0)), "Qwen3-1.7B", printed=True)
    figure = recovery_figure([own, trial(recovering((1, 1, 1)), "n")])
    assert [one.name for one in figure.series] == ["Qwen3-1.7B", "published, Qwen3-1.7B", "n"]


Evidence = dict[str, list[Trial]]


def claim(begin: str, evidence: Evidence) -> str:
    (found,) = (one for one in CLAIMS if one.words.startswith(begin))
    return found.finding(evidence).verdict


def shared(**models: tuple[float, float]) -> Evidence:
    """Make models by name: what each solves alone, and steered."""
    return {
        "solo": [trial(alone(solo), name) for name, (solo, _) in models.items()],
        "recoverability_shared": [
            trial(recovering((steered,) * 3), name) for name, (_, steered) in models.items()
        ],
    }


def runs(name: str, make: Callable[[float], list[Score]]) -> Callable[[float], Evidence]:
    return lambda rate: {name: [trial(make(rate))]}


def two(one: str, other: str) -> Callable[[float], Evidence]:
    """Make two runs of the same originals, the second of which recovers half."""
    return lambda rate: {
        one: [trial(recovering((rate,) * 3))],
        other: [trial(recovering((0.5,) * 3))],
    }


def test_weaker_models_that_recover_more_are_found_only_where_both_differ() -> None:
    begin = "A model that solves more alone"
    assert claim(begin, shared(strong=(0.9, 0.3), weak=(0.4, 0.95))) == "true"
    assert claim(begin, shared(strong=(0.9, 0.95), weak=(0.4, 0.3))) == "false"
    assert claim(begin, shared(strong=(0.9, 0.5), weak=(0.4, 0.5))) == "undecided"


def test_rankings_decide_only_where_their_interval_does() -> None:
    begin = "How much is solved alone"
    rising = {f"m{n}": (n / 20, n / 20) for n in range(1, 20)}
    falling = {f"m{n}": (n / 20, 1 - n / 20) for n in range(1, 20)}
    assert claim(begin, shared(**rising)) == "false"
    assert claim(begin, shared(**falling)) == "true"
    assert claim(begin, shared(a=(0.2, 0.4), b=(0.4, 0.8))) == "undecided"


@pytest.mark.parametrize(
    ("begin", "made", "true", "false"),
    [
        (
            "A distracting steer costs",
            runs("recoverability_shared", lambda rate: recovering((rate,) * 3, 0.5)),
            0.1,
            0.9,
        ),
        ("A steer costs", runs("recoverability", lambda r: recovering((r,) * 3, 0.5)), 0.1, 0.9),
        (
            "A steer before the first",
            runs("recoverability_shared", lambda rate: recovering((rate, 0.5, 0.5))),
            0.1,
            0.9,
        ),
        (
            "Keeping the first own paragraph before",
            two("first_paragraph", "recoverability_shared"),
            0.9,
            0.1,
        ),
        (
            "Keeping the first own paragraph helps",
            two("first_paragraph", "recoverability_shared"),
            0.9,
            0.1,
        ),
        ("A steer of twice", two("long_steers", "recoverability"), 0.1, 0.9),
        ("Distractors from another", two("foreign_steers", "recoverability_shared"), 0.5, 0.9),
        (
            "The more often",
            runs(
                "recoverability",
                lambda rate: recovering((rate,) * 3) + recovering((0.5,) * 3, solved=2),
            ),
            0.9,
            0.1,
        ),
        ("Guiding steers solve at", runs("guidability_shared", lambda r: guided((r, r))), 0.0, 0.5),
        ("More of the guide", runs("guidability_shared", lambda r: guided((0.5, r))), 0.9, 0.1),
        (
            "Guided episodes solve",
            runs("guidability_shared", lambda rate: guided((rate, rate), control=0.5)),
            0.9,
            0.1,
        ),
        (
            "On problems that need no",
            runs("guidability_solvable", lambda r: guided((r, r))),
            1.0,
            0.5,
        ),
        (
            "Going on thinking",
            runs("code_guidability", lambda r: guided((r, r), forced=0.5)),
            0.5,
            0.9,
        ),
        (
            "Less is recovered on code",
            two("code_recoverability_shared", "recoverability_shared"),
            0.1,
            0.9,
        ),
    ],
)
def test_a_claim_is_true_or_false_by_the_side_on_which_its_interval_lies(
    begin: str, made: Callable[[float], Evidence], true: float, false: float
) -> None:
    assert claim(begin, made(true)) == "true"
    assert claim(begin, made(false)) == "false"


def test_steers_that_hold_the_answer_are_judged_apart() -> None:
    inflated = [trial(guided((0.9, 0.9)))]  # only what was solved held the answer
    assert claim("Guidability is inflated", {"guidability": inflated}) == "true"
    assert claim("Models often turn away", {"guidability": inflated}) == "false"
    held = [trial(guided((0.2, 0.2), holds=True))]
    assert claim("Guidability is inflated", {"guidability": held}) == "undecided"
    assert claim("Models often turn away", {"guidability": held}) == "true"


def test_scores_that_were_stored_without_their_original_are_matched_with_no_others() -> None:
    rates = {"long_steers": 0.1, "recoverability": 0.9}
    new = {run: [trial(recovering((rate,) * 3))] for run, rate in rates.items()}
    old = {run: [trial(recovering((rate,) * 3, original=None))] for run, rate in rates.items()}
    assert claim("A steer of twice", new) == "true"
    assert claim("A steer of twice", old) == "undecided"


def test_a_teacher_is_compared_where_a_run_names_one() -> None:
    begin = "A model's own teacher"
    scores = guided((0.5, 0.5))
    assert claim(begin, {"guidability": [trial(scores)]}) == "undecided"
    for score in scores:
        whose = "own" if score.design.guide == "guide" else "other"
        object.__setattr__(score, "design", replace(score.design, teacher=whose))
    assert claim(begin, {"guidability": [trial(scores)]}) == "undecided"


@pytest.mark.parametrize("one", CLAIMS, ids=lambda one: one.words[:30])
def test_a_claim_without_its_runs_is_undecided_and_is_read_from_what_there_is(one: object) -> None:
    (found,) = (claim for claim in CLAIMS if claim is one)
    finding = found.finding({run: [trial([])] for run in found.runs})
    assert (finding.verdict, found.runs[0] in finding.estimate) == ("undecided", True)
    tables = {f"table {number}" for number in TABLES} | {"figure 4"}
    assert set(found.shown) <= tables
    assert set(found.runs) <= set(RUNS)


def test_no_table_is_without_a_view() -> None:
    assert all(views(number) for number in TABLES)
