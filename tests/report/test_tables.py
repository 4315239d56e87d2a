import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from collab.analysis.stats import Rate, paired_effect
from collab.core.design import Design, Label
from collab.core.trajectory import Seams
from collab.report.tables import astray, overall, print_whole, summary
from collab.scenarios.base import Score, Verdict


def score(nth: int, arm: str, right: bool, at: float | None = 0.2, **fields: Label) -> Score:
    labels: dict[str, Label] = {"arm": arm, "at": at, "pair": f"{nth}/{at}", **fields}
    verdict: Verdict = "correct" if right else "wrong"
    return Score(f"{nth}/{at}/{arm}", f"q{nth}", verdict, *Design.split(labels), tokens=10 * nth)


def text(shown: RenderableType, width: int = 80) -> str:
    out = StringIO()
    print_whole(Console(file=out, width=width), shown)
    return out.getvalue()


def cells(shown: str, table: int = 0) -> dict[str, list[str]]:
    """Read a table's rows by their first cell; columns are two spaces apart."""
    rows = shown.split("steered episodes")[table].splitlines()
    split = [re.split(r" {2,}", row.strip()) for row in rows]
    return {row[0]: row[1:] for row in split if len(row) > 2}


def twin(outcomes: Sequence[tuple[bool, bool, bool]], at: float = 0.2) -> list[Score]:
    """Make one pair an outcome: (steered, no steer, placebo)."""
    return [
        score(nth, arm, right, at)
        for nth, outcome in enumerate(outcomes)
        for arm, right in zip(("steer", "none", "placebo"), outcome, strict=True)
    ]


def test_each_rate_has_its_n_and_interval_and_the_controls_beside_it() -> None:
    outcomes = [(False, True, True)] * 6 + [(True, True, True)] * 3 + [(True, False, True)]
    row = cells(text(summary("t", "at", twin(outcomes), [])))["0.2"]
    steered, control = Rate(4, 10), Rate(9, 10)
    questions = [f"q{n}" for n in range(10)]
    effect = paired_effect(
        [one for one, _, _ in outcomes], [two for _, two, _ in outcomes], questions
    )
    assert row == [
        "10",
        f"40 [{100 * steered.low:.0f},{100 * steered.high:.0f}]",
        f"90 [{100 * control.low:.0f},{100 * control.high:.0f}]",
        f"-50 [{100 * effect.low:+.0f},{100 * effect.high:+.0f}]",
        "100 [72,100]",
        row[5],
    ]
    assert row[5].startswith("-60 [")


def test_a_summary_is_a_steer_of_its_own_and_in_no_other_number() -> None:
    raw = [score(n, arm, True, steer_kind="raw") for n in range(3) for arm in ("steer", "none")]
    told = [
        score(n, arm, False, steer_kind="summary") for n in range(3, 8) for arm in ("steer", "none")
    ]
    shown = text(summary("t", "at", raw + told, []))
    first, second = shown.split("paired difference, steers: summary")
    assert re.search(r"^0\.2 +3 +100 ", first, re.MULTILINE)
    assert re.search(r"^0\.2 +5 +0 ", second, re.MULTILINE)
    assert overall(raw + told)["n"] == "3"
    assert overall(told)["n"] == "5"


def test_the_difference_is_of_matched_pairs_alone() -> None:
    scores = [
        *(score(n, "steer", n < 2) for n in range(4)),
        *(score(n, "none", True) for n in range(2)),
        score(9, "none", False),
    ]
    row = cells(text(summary("t", "at", scores, [])))["0.2"]
    assert row[1].startswith("50 [")
    assert row[2].startswith("67 [")
    assert row[3].startswith("+0 [")


def test_what_the_seams_did_to_the_prompts_is_said_below_the_table() -> None:
    one = replace(score(0, "steer", True), seams=Seams(1000, 2, 300, 4))
    said = text(summary("t", "at", [one, one, score(1, "steer", True)], []))
    assert "4 stretches of other authors' text were encoded anew" in said
    assert "(600 of 2,000 prompt tokens); 8 tokens" in said
    unknown = replace(one, seams=Seams(0, changed=None))
    assert "there was no tokenizer to count them" in text(summary("t", "at", [one, unknown], []))
    assert "seams" not in text(summary("t", "at", [score(1, "steer", True)], []))


def test_rows_stand_in_the_order_of_points_with_all_at_the_end() -> None:
    scores = twin([(True, True, True)], 0.8) + twin([(False, True, True)], 0.0)
    out = text(summary("t", "at", scores, []))
    assert list(cells(out)) == ["at", "0", "0.8", "all", "macro"]
    assert cells(out)["all"][:2] == ["2", cells(out)["macro"][0]]
    assert cells(out)["macro"][0].startswith("50 [")


def test_the_macro_average_gives_each_row_the_same_weight() -> None:
    scores = twin([(True, True, True)] * 30, 0.0) + twin([(False, True, True)] * 10, 0.8)
    table = cells(text(summary("t", "at", scores, [])))
    assert table["all"][1].startswith("75 [")
    assert table["macro"][0].startswith("50 [")
    easy = [score(n, "solo", True, level="easy") for n in range(30)]
    hard = [score(n, "solo", False, level="hard") for n in range(30, 40)]
    alone = text(summary("t", "level", [*easy, *hard], []))
    assert re.search(r"^macro +50 \[", alone, re.MULTILINE)


def test_differences_that_are_none_of_chance_are_marked_after_holms_correction() -> None:
    hurt = twin([(False, True, True)] * 20, 0.0)
    alike = twin([(True, True, True)] * 20, 0.8)
    shown = text(summary("t", "at", [*hurt, *alike], []))
    assert "(* p < 0.05 after Holm)" in shown
    assert cells(shown)["0"][3].startswith("-100* [")
    assert cells(shown)["0.8"][3].startswith("+0 [")
    assert "Holm" not in text(summary("t", "at", alike, []))


def test_cases_that_one_steer_disturbs_are_no_independent_ones() -> None:
    apart = [score(n, "steer", n % 2 == 0, steer_question=f"d{n}") for n in range(40)]
    alike = [score(n, "steer", n % 2 == 0, steer_question=f"d{n % 4}") for n in range(40)]
    one, other = (cells(text(summary("t", "at", s, [])))["0.2"][1] for s in (apart, alike))
    assert one == "50 [35,65]"
    assert other == "50 [8,92]"


def test_a_control_that_was_not_played_has_no_column() -> None:
    scores = [score(1, "steer", True), score(1, "none", True)]
    assert cells(text(summary("t", "at", scores, [])))["at"] == [
        "n",
        "steered",
        "no steer",
        "difference",
    ]


def test_a_group_without_its_control_shows_a_dash() -> None:
    scores = [score(1, "steer", True, 0.0), *twin([(True, True, True)], 0.2)]
    assert cells(text(summary("t", "at", scores, [])))["0"][2:] == ["–"] * 4


def test_steers_that_hold_the_answer_and_answers_of_the_steer_are_counted() -> None:
    scores = [
        Score(
            f"{n}",
            f"q{n}",
            "wrong",
            Design(
                arm="steer",
                at=0.2,
                pair=f"{n}",
                steer_tokens=10 + n,
                own_holds_answer=n == 0,
                steer_holds_answer=n < 3,
            ),
            said_rival=n < 2,
        )
        for n in range(4)
    ]
    out = text(summary("t", "at", [*scores, score(0, "none", True)], []))
    assert cells(out, 1)["0.2"] == ["12", "1", "3", "2"]


def test_without_arms_the_table_has_rates_questions_and_tokens() -> None:
    scores = [
        Score(f"{n}", f"q{n // 2}", "correct" if n else "wrong", labels={"level": "easy"}, tokens=n)
        for n in range(4)
    ]
    row = cells(text(summary("t", "level", scores, [])))["easy"]
    assert row == ["4", "2", "75 [1,100]", "2"]


def test_several_solo_draws_give_pass_at_k_by_questions() -> None:
    solved = {0: "110", 1: "000", 2: "001", 3: "111"}
    draws = [
        score(nth, "solo", mark == "1", level="code")
        for nth, marks in solved.items()
        for mark in marks
    ]
    table = cells(text(summary("t", "level", draws, [])))
    assert table["level"][:4] == ["n", "questions", "solved %", "pass@3 %"]
    assert table["code"][2:4] == ["50 [9,91]", "75 [30,95]"]
    more = [*draws, score(0, "solo", False, level="code")]
    assert cells(text(summary("t", "level", more, [])))["code"][3] == "75 [30,95]"
    assert "pass@" not in text(summary("t", "level", draws[::3], []))


def test_how_often_judge_and_rules_agree_is_said() -> None:
    said = [("correct", "correct")] * 6 + [("correct", "wrong"), ("wrong", "correct")]
    scores = [
        replace(score(nth, "solo", True), details={"judge": judge, "rules": rules})
        for nth, (judge, rules) in enumerate([*said, (None, "wrong")])
    ]
    shown = " ".join(text(summary("t", "at", scores, [])).split())
    assert "judge and rules agree on 6 of 8 (" in shown
    assert "only by the judge: 1, only by the rules: 1; not graded by both: 1" in shown


def test_odd_verdicts_and_notes_stand_below() -> None:
    open_ = Score("a", "q", "thinking never closed", labels={"level": "easy"})
    out = text(summary("t", "level", [open_, open_], ["3 left out", ""]))
    assert "verdicts besides correct and wrong: 2 thinking never closed" in out
    assert out.rstrip().endswith("3 left out")


def test_a_run_without_scores_has_an_empty_table() -> None:
    assert cells(text(summary("t", "level", [], [])))["all"] == ["0", "0", "–", "–"]


def test_brackets_in_names_and_notes_stay() -> None:
    scores = [Score("a", "q", "correct", labels={"level": "[red]"})]
    out = text(summary("[b]", "level", scores, ["[i]x"]))
    assert "[red]" in out
    assert "[b]" in out
    assert "[i]x" in out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_rows_of_the_recoverability_table_stay_whole(width: int) -> None:
    outcomes = [(False, True, True)] * 999
    scores = [s for at in (0.0, 0.2, 0.4, 0.6, 0.8) for s in twin(outcomes, at)]
    out = text(summary("t", "at", scores, []), width)
    assert "…\n" not in out.replace("hold or give …\n", "")
    assert cells(out) == cells(text(summary("t", "at", scores, []), 300))


def test_a_usual_recoverability_table_fits_80_columns() -> None:
    outcomes = [(n % 2 == 0, n % 7 != 0, n % 9 != 0) for n in range(200)]
    scores = [s for at in (0.0, 0.2, 0.4, 0.6, 0.8) for s in twin(outcomes, at)]
    assert max(map(len, text(summary("t", "at", scores, [])).splitlines())) <= 80


def test_led_astray_is_what_is_solved_without_the_steer_alone() -> None:
    outcomes = [(False, True, True), (True, True, True), (False, False, True), (True, False, True)]
    assert astray(twin(outcomes)) == ["0/0.2/steer"]
    assert astray([score(0, "solo", right=False)]) == []
