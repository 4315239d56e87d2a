import random
import re
from collections.abc import Sequence
from io import StringIO
from itertools import chain

import pytest
from rich.console import Console

from collab.analysis.stats import grouped_effect, holm
from collab.core.cost import Cost
from collab.core.design import Design
from collab.report.collaboration import arms_of, majorities
from collab.report.figure import arms_of as figure_arms
from collab.report.figure import pareto
from collab.report.tables import overall, print_whole, summary
from collab.scenarios.base import Score, SeatWork, Verdict


def took(completion: int, prompt: int = 0, money: float = 0.0, size: float = 1.0) -> Cost:
    flops = 2e9 * size * (completion + prompt)
    return Cost(1, prompt, 0, completion, 0.5, money, flops)


def score(
    question: str,
    arm: str,
    nth: int,
    right: bool,
    parts: dict[str, SeatWork],
    said: str | None = None,
    level: str = "easy",
) -> Score:
    design = Design(arm=arm, policy="P", helper="helper")
    case = f"{question}/{arm}/{nth}"
    verdict: Verdict = "correct" if right else "wrong"
    return Score(
        case, question, verdict, design, {"level": level}, extracted=said, tokens=9, parts=parts
    )


def alone(seat: str, rights: Sequence[str], tokens: int) -> list[Score]:
    """Make the answers of a seat alone: a mark is a question's, 1 is right, else what was said."""
    did = {seat: SeatWork(tokens, 1, 1, took(tokens))}
    return [
        score(f"q{n}", f"{seat} alone", k, mark == "1", did, mark)
        for n, marks in enumerate(rights)
        for k, mark in enumerate(marks)
    ]


def both(arm: str, rights: str, ours: int, theirs: int, **helper: int) -> list[Score]:
    parts = {
        "main": SeatWork(ours, 2, 2, took(ours)),
        "helper": SeatWork(theirs, helper.get("units", 1), helper.get("kept", 1), took(theirs)),
    }
    return [score(f"q{n}", arm, 0, mark == "1", parts) for n, mark in enumerate(rights)]


RUN = [
    *both("together", "110", 30, 10, units=4, kept=1),
    *alone("main", ["1a1", "ab1", "aab"], 14),
    *alone("helper", ["111", "111", "1a1"], 100),
    *both("random_switch", "100", 20, 20),
]


def text(scores: Sequence[Score]) -> str:
    out = StringIO()
    print_whole(Console(file=out, width=80), summary("t", "level", scores, []))
    return out.getvalue()


def rows(shown: str) -> dict[str, list[str]]:
    split = [re.split(r" {2,}", line.strip()) for line in shown.splitlines()]
    return {row[0]: row[1:] for row in reversed(split)}


def test_each_arm_has_its_rate_its_paired_difference_and_what_it_takes() -> None:
    shown = rows(text(RUN))
    assert shown["n"] == ["solved %", "difference", "p", "tokens", "helper %", "FLOPs", "s"]
    assert shown["together"][:2] == ["3", "67 [21,94]"]
    assert shown["together"][2:] == ["40", "25", "8e+10", "1"]
    arms = arms_of(RUN)
    ours = arms[0].solved
    against = [grouped_effect(ours, arm.solved) for arm in arms[1:]]
    ps = [effect.p for effect in against if effect.p is not None]
    nth = [arm.name for arm in arms[1:]].index("main alone")
    one = against[nth]
    assert shown["main alone"][0] == "9"
    assert shown["main alone"][2] == (
        f"{100 * one.value:+.0f} [{100 * one.low:+.0f},{100 * one.high:+.0f}]"
    )
    assert holm(ps)[nth] == pytest.approx(float(shown["main alone"][3]), abs=1e-3)


def test_a_majority_is_of_as_many_as_cost_what_the_policy_does() -> None:
    arms = {(arm.name, arm.votes) for arm in arms_of(RUN)}
    assert ("main alone", 3) in arms
    assert not any(name == "helper alone" and votes > 1 for name, votes in arms)
    said = " ".join(text(RUN).split())
    assert "majority of 3 × main: 1.05 of the FLOPs of together" in said
    assert "majority of 1 × helper: no majority costs as much: 2.50 of the FLOPs" in said


def test_nothing_depends_on_what_was_finished_first() -> None:
    answers = alone("main", ["11aaa", "1a1ab", "11aab"], 14)
    run = [*both("together", "110", 30, 10), *answers, *both("random_switch", "100", 20, 20)]
    finished = random.Random(1).sample(run, len(run))
    assert "majority of 3 × main" in text(run)
    assert text(finished) == text(run)
    assert overall(finished) == overall(run)


def test_a_majority_that_would_want_more_answers_says_so() -> None:
    few = [*both("together", "11", 100, 100), *alone("main", ["1a", "11"], 10)]
    assert "majority of 2 × main, all there are (increase scenario.votes): 0.10" in text(few)


@pytest.mark.parametrize(
    ("marks", "votes", "expected"),
    [
        ("1a", 1, [1, 0]),
        ("1a1", 3, [1, 1, 1]),
        ("1ab", 3, [1 / 3] * 3),
        ("1aa", 2, [0.5, 0, 0.5]),
        ("a.1", 3, [0.5] * 3),
        ("...", 3, [0, 0, 0]),
    ],
)
def test_the_most_frequent_answer_counts_and_ties_are_shared(
    marks: str, votes: int, expected: list[float]
) -> None:
    scores = [
        score("q", "main alone", n, mark == "1", {}, None if mark == "." else mark)
        for n, mark in enumerate(marks)
    ]
    assert majorities(scores, votes) == pytest.approx(expected)


def test_right_answers_agree_however_they_are_written() -> None:
    scores = [
        score("q", "x", n, n < 2, {}, said) for n, said in enumerate(["1/2", "0.5", "2", "2"])
    ]
    assert majorities(scores, 4) == [0.5] * 4


def test_each_seat_has_what_it_wrote_kept_and_took() -> None:
    shown = text(RUN)
    line = next(line for line in shown.splitlines() if re.match(r"together +helper", line))
    assert re.split(r" {2,}", line)[2:] == ["10", "25", "25 %", "10", "0", "2e+10"]


def test_a_baseline_of_another_share_is_told_of() -> None:
    said = " ".join(text(RUN).split())
    assert (
        "helper wrote 50 % of random_switch and 25 % of together; for equal shares, lower "
        "scenario.against.random_switch.share"
    ) in said
    even = [*both("together", "1", 20, 20), *both("random_switch", "1", 21, 19)]
    assert "for equal shares" not in text(even)


def test_money_stands_where_there_are_prices_and_tokens_where_no_size_is_known() -> None:
    priced = {"main": SeatWork(10, 1, 1, took(10, money=0.25, size=0))}
    scores = [
        score("q", "together", 0, True, {"main": SeatWork(20, 1, 1, took(20, money=0.5, size=0))}),
        *(score("q", "main alone", n, True, priced, "1") for n in range(2)),
    ]
    shown = text(scores)
    assert "FLOPs" not in shown
    assert "majority of 2 × main: 1.00 of the tokens of together" in shown
    assert rows(shown)["together"][:5] == ["1", "100 [21,100]", "20", "0", "0.5"]


def test_flops_are_not_told_where_one_author_is_of_unknown_size() -> None:
    did = {"main": SeatWork(9, 1, 1, took(9, size=0)), "helper": SeatWork(9, 1, 1, took(9))}
    alone_ = score("q", "main alone", 0, True, {"main": did["main"]})
    shown = text([score("q", "together", 0, True, did), alone_])
    arms, seats = shown.split("by author")
    assert "FLOPs" not in arms
    assert "FLOPs" in seats


def test_several_levels_have_a_row_each() -> None:
    hard = [
        score("r", arm, 0, arm == "together", {"main": SeatWork(9, 1, 1, took(9))}, level="hard")
        for arm in ("together", "main alone", "helper alone", "random_switch")
    ]
    easy = list(chain.from_iterable([RUN]))
    table = text([*easy, *hard]).split("% solved by level")[1]
    row = rows(table)["hard"]
    assert row[0] == "100 [21,100]"
    assert row[1] == "0 [0,79]"


def test_a_sweep_has_the_policys_rate_and_its_differences() -> None:
    cells = overall(RUN)
    assert cells["solved %"] == "67 [21,94]"
    assert cells["helper %"] == "25"
    assert cells["difference to random_switch"].startswith("+33 [")
    assert "difference to majority of k × main" in cells, "whatever k is in each of its runs"


def test_a_run_of_which_nobody_noted_who_did_what_has_its_rates() -> None:
    shown = text([score("q", "together", 0, True, {}), score("q", "main alone", 0, False, {})])
    assert rows(shown)["together"][:3] == ["1", "100 [21,100]", "0"]
    assert "by author" not in shown


def test_an_episode_that_drew_nothing_hides_no_flops() -> None:
    idle = score("q9", "together", 0, False, {})
    assert "FLOPs" in rows(text([*RUN, idle]))["n"]


def test_the_policy_by_itself_has_no_difference() -> None:
    shown = text(both("together", "10", 5, 5))
    assert "difference" not in shown
    assert rows(shown)["together"][0] == "2"


def test_beside_other_runs_a_collaboration_stands_for_its_policy_alone() -> None:
    assert {name: len(of) for name, of in figure_arms(RUN).items()} == {"together": 3}


def test_the_pareto_figure_leads_through_what_no_arm_beats() -> None:
    figure = pareto(arms_of(RUN))
    frontier, *series = figure.series
    assert not frontier.marked
    assert [(p.x, round(p.y)) for p in frontier.points] == [(28, 33), (80, 67), (200, 89)]
    assert figure.x == "GFLOPs per episode"
    by = {one.name: one for one in series}
    assert list(by) == ["together", "helper alone", "main alone", "random_switch"]
    assert [p.name for p in by["main alone"].points] == ["", "majority of 3 × main"]
    assert by["main alone"].joined
    assert not by["together"].joined


def test_published_claims_stand_beside_in_their_direction() -> None:
    out = StringIO()
    print_whole(Console(file=out), summary("t", "level", RUN, [], "CoThink"))
    told = rows(out.getvalue())
    arms = {arm.name: arm for arm in arms_of(RUN)[:3]}
    effect = grouped_effect(arms["together"].solved, arms["main alone"].solved)
    assert told["solved: same as main alone"][0] == (
        f"{100 * effect.value:+.0f} [{100 * effect.low:+.0f},{100 * effect.high:+.0f}] points"
    )
    assert told["solved: same as main alone"][1:] == ["undecided", "within 0.42 %"]
    assert told["tokens: less than main alone"][1] == "disagrees"
    assert told["tokens: less than main alone"][0].startswith("+186 [")


def test_a_claim_against_an_arm_that_was_not_played_is_undecided() -> None:
    out = StringIO()
    print_whole(Console(file=out), summary("t", "level", both("together", "1", 5, 5), [], "s1"))
    assert rows(out.getvalue())["solved: more than main alone"][:2] == ["not played", "undecided"]
