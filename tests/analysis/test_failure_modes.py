"""The rules of what went wrong: each label with an episode that has it, and one that has not."""

from dataclasses import replace

import pytest

from collab.analysis.failure_modes import (
    CHOICES,
    DEFINITIONS,
    Failing,
    circles,
    failed,
    failing,
    kind_of,
    terms,
)
from collab.core.design import Design, Label
from collab.core.trajectory import Message, Question, Trajectory, Unit
from collab.episode.engine import Episode
from collab.scenarios.base import Score, Verdict

ASKED = Question("q", (Message("user", "Ann has 60 nuts. She buys 18. How many nuts?"),), "78")
STEER = "A train leaves the station with 11 wagons. 11 times 2 is 22. 22 minus 5 is 17."
DISTRACTED: dict[str, Label] = {"arm": "steer", "steer": "other", "steer_question": "r"}
GUIDED: dict[str, Label] = {"arm": "steer", "guide": "guide"}


def episode(after: str, steer: str = STEER) -> Episode:
    units = (
        Unit("main", "60 nuts. ", "recorded"),
        Unit("distractor", steer, "recorded"),
        Unit("main", after, "generated"),
    )
    return Episode("c", Trajectory(units=units if steer else units[::2]), "answered")


def told(
    after: str,
    labels: dict[str, Label],
    verdict: Verdict = "wrong",
    said_rival: bool | None = None,
    steer: str = STEER,
) -> Failing:
    score = Score("c", "q", verdict, *Design.split(labels), said_rival=said_rival)
    assert failed(score)
    said = failing(episode(after, steer), score, ASKED)
    assert said in CHOICES[kind_of(score)]
    return said


ROUND = "So we add 18 to it. " * 3


@pytest.mark.parametrize(
    ("after", "labels", "verdict", "said"),
    [
        (ROUND, DISTRACTED, "thinking never closed", "went in circles"),
        (ROUND, {"arm": "none"}, "context full", "went in circles"),
        ("60 and 18 make 78. Or not?", DISTRACTED, "thinking never closed", "never closed"),
        (ROUND, DISTRACTED, "no answer", "no answer"),
        ("The train has 22 wagons at the station.", DISTRACTED, "wrong", "never came back"),
        ("17 and 18 make 35 nuts.", DISTRACTED, "wrong", "took over a result"),
        ("No train. Ann has 60 nuts, 18 make 77.", DISTRACTED, "wrong", "came back and failed"),
        ("Hm. Yes.", DISTRACTED, "wrong", "unclear"),
        ("17 nuts and 18 make 35.", GUIDED, "wrong", "built on it and failed"),
        ("Ann has 60 nuts, so 77.", GUIDED, "wrong", "left the guide's path"),
        ("17 nuts.", GUIDED | {"steer_states_answer": True}, "wrong", "dropped the answer"),
        ("17 wagons.", DISTRACTED | {"steer": "noise"}, "wrong", "own mistake"),
        ("17 wagons.", {"arm": "placebo"}, "wrong", "own mistake"),
    ],
)  # fmt: skip
def test_each_label_has_its_rule(
    after: str, labels: dict[str, Label], verdict: Verdict, said: Failing
) -> None:
    assert told(after, labels, verdict) == said


def test_the_distractors_answer_comes_before_what_the_thinking_is_about() -> None:
    assert told("60 nuts.", DISTRACTED, said_rival=True) == "followed the distractor"
    assert told("60 nuts.", DISTRACTED, said_rival=False) == "came back and failed"


@pytest.mark.parametrize(
    ("arm", "said"), [("steer", "followed the distractor"), ("none", "own mistake")]
)
def test_who_answers_where_refusing_was_right_followed_whoever_steered(
    arm: str, said: Failing
) -> None:
    score = Score("c", "q", "wrong", Design(arm=arm, steer="given"))
    assert failing(episode("60 nuts."), score, replace(ASKED, grader="refusal")) == said


def test_the_end_of_the_thinking_decides_what_it_is_about() -> None:
    train, nuts = "The train, its wagons, the station. ", "Ann has 60 nuts, 18 more. "
    assert told(train + nuts, DISTRACTED) == "came back and failed"
    assert told(nuts + train, DISTRACTED) == "never came back"


@pytest.mark.parametrize("labels", [DISTRACTED, GUIDED])
def test_a_steer_that_says_nothing_of_its_own_is_unclear(labels: dict[str, Label]) -> None:
    assert told("60 nuts.", labels, steer="Wait. Let me think.") == "unclear"
    assert told("60 nuts.", labels, steer="") == "unclear"


def test_what_is_solved_or_could_not_be_judged_has_not_failed() -> None:
    verdicts: list[Verdict] = [
        "correct",
        "grader timeout",
        "endpoint dropped the prefix",
        "refused",
    ]
    assert [failed(Score("c", "q", verdict)) for verdict in verdicts] == [False] * 3 + [True]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a b c d " * 3, True),
        ("a b c d " * 2 + "a b c", False),
        ("begin " + "a b c d " * 9 + "a b", True),
        ("a b c d " * 9 + "end", False),
        ("a b c " * 3, False),
        ("a " * 12, True),
        ("", False),
        (" ".join(map(str, range(5000))), False),
    ],
)
def test_a_circle_is_a_passage_three_times_at_the_end(text: str, is_one: bool) -> None:
    assert circles(text) == is_one


def test_terms_are_words_and_numbers_that_may_tell_subjects_apart() -> None:
    text = r"Then \frac{1,200}{2.5} nuts, which the Train has; x12 and f(3,4)."
    assert terms(text) == ["1200", "2.5", "nuts", "train", "3", "4"]


def test_each_label_is_defined_and_may_be_chosen() -> None:
    chosen = {name for names in CHOICES.values() for name in names}
    assert chosen == DEFINITIONS.keys()
