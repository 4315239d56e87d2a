from collections.abc import Sequence
from io import StringIO

from rich.console import Console

from collab.core.design import Design, Label
from collab.core.trajectory import Seams
from collab.report.splits import splits
from collab.scenarios.base import Score, Verdict


def score(nth: int, arm: str, right: bool, **labels: Label) -> Score:
    told: dict[str, Label] = {"arm": arm, "pair": f"{nth}", **labels}
    verdict: Verdict = "correct" if right else "wrong"
    return Score(
        f"{nth}/{arm}", f"q{nth}", verdict, *Design.split(told), tokens=10, seams=Seams(tokens=50)
    )


def lines(scores: Sequence[Score], title: str) -> list[str]:
    """Return the rows of the table with that title, the spaces pressed."""
    for table in splits(scores):
        if str(table.title).startswith(title):
            out = StringIO()
            Console(file=out, width=200).print(table)
            return [" ".join(line.split()) for line in out.getvalue().splitlines()[2:]]
    return []


def guided(nth: int, right: bool, alone: bool, forced: bool, **labels: Label) -> list[Score]:
    """A guided case with its two controls."""
    own = {"guide": "guide", "by_all_guides": True, **labels}
    outcomes = {"steer": right, "none": alone, "forced": forced}
    return [score(nth, arm, is_so, **own) for arm, is_so in outcomes.items()]


def test_solve_counts_are_told_apart() -> None:
    some = [one for nth in range(4) for one in guided(nth, nth > 0, False, False, solved=nth % 2)]
    never, once = lines(some, "% solved by group")
    assert never.startswith("solved 0 times alone 2 50 [")
    assert once.startswith("solved 1 times alone 2 100 [")


def test_one_solve_count_alone_makes_no_rows() -> None:
    assert lines(guided(0, True, False, False, solved=0), "% solved by group") == []


def test_guides_and_teachers_are_compared_on_the_problems_of_all_guides() -> None:
    scores = [
        *guided(0, True, False, False, guide="a", teacher="own"),
        *guided(1, False, False, False, guide="b", teacher="other"),
        *guided(2, True, False, False, guide="b", teacher="other", by_all_guides=False),
    ]
    assert [line[:42] for line in lines(scores, "% solved by group")] == [
        "guide a, problems of all guides 1 100 [21,",
        "guide b, problems of all guides 1 0 [0,79]",
        "other teacher, problems of all guides 1 0 ",
        "own teacher, problems of all guides 1 100 ",
    ]


def test_an_own_opening_that_states_the_answer_is_told_apart() -> None:
    scores = [score(n, "steer", bool(n), own_states_answer=bool(n)) for n in range(2)]
    no, yes = lines(scores, "% solved by group")
    assert no.startswith("own opening states the answer: no 1 0 [")
    assert yes.startswith("own opening states the answer: yes 1 100 [")


def test_leaked_and_leak_free_steers_make_two_by_two_at_three_levels() -> None:
    scores = [
        *guided(0, True, False, True, steer_holds_answer=True, steer_states_answer=True),
        *guided(1, True, True, True, steer_holds_answer=True, steer_states_answer=False),
        *guided(2, True, False, False, steer_holds_answer=False, steer_states_answer=False),
        *guided(3, False, False, True, steer_holds_answer=False, steer_states_answer=False),
    ]
    mentioned, stated, forced = lines(scores, "% solved, by whether")
    # leaked, solved; leak-free, solved, lift over no guide; the paper's difference
    assert mentioned.startswith("mentioned in the steer 2 100 [34,100] 2 50 [9,91] +50 [")
    assert mentioned.endswith(" +25")
    assert stated.startswith("stated as a result 1 100 [21,100] 3 67 [21,94] +33 [")
    assert stated.endswith(" +50")
    assert forced.startswith("recovered by answer forcing 3 67 [21,94] 1 100 [21,100] +100 [")
    assert forced.endswith(" +0")


def test_without_guides_nothing_is_said_of_leaks() -> None:
    assert lines([score(0, "steer", True)], "% solved, by whether") == []


def test_without_controls_a_leak_free_lift_is_a_dash() -> None:
    steered = guided(0, True, False, False)[:1]
    mentioned, stated = lines(steered, "% solved, by whether")
    assert mentioned == "mentioned in the steer 0 – 1 100 [21,100] – +100"
    assert stated.startswith("stated as a result 0 –")


def test_what_an_episode_costs_stands_by_arm() -> None:
    scores = [one for nth in range(2) for one in guided(nth, nth > 0, False, True)]
    assert lines(scores, "cost of an episode") == [
        "steered 50 [9,91] 10 50 20",
        "no steer 0 [0,66] 10 50 –",
        "answer forced 100 [34,100] 10 50 10",
    ]
    assert lines([score(0, "steer", True)], "cost of an episode") == []
