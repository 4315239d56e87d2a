"""The cards of the pocket reasoners: which thoughts are correct, and rates with their intervals."""

import random

from collab.analysis.pocket_cards import Thought, _figures, _rate
from collab.pocket.family import draw

PROBLEM = draw("middle", random.Random(0), "test")
RIGHT = Thought(PROBLEM, f"</think>\n\nThe answer is \\boxed{{{PROBLEM.answer}}}.", 9)
WRONG = Thought(PROBLEM, "</think>\n\nThe answer is \\boxed{0}.", 9)


def test_a_thought_is_correct_only_if_it_is_closed_and_boxed() -> None:
    assert RIGHT.correct
    assert not WRONG.correct
    assert not Thought(PROBLEM, f"The answer is \\boxed{{{PROBLEM.answer}}}.", 9).correct
    assert not Thought(PROBLEM, f"</think>\n\n{PROBLEM.answer}", 9).correct


def test_the_last_box_of_a_thought_decides() -> None:
    text = f"{RIGHT.text} No, it is \\boxed{{0}}."
    assert not Thought(PROBLEM, text, 9).correct


def test_draws_of_one_question_count_as_one_trial_where_they_agree() -> None:
    alike = _figures(_rate([[RIGHT] * 8, [WRONG] * 8]))
    mixed = _figures(_rate([[RIGHT, WRONG] * 4, [RIGHT, WRONG] * 4]))
    assert alike["rate"] == mixed["rate"] == 0.5
    assert (alike["questions"], alike["draws"]) == (2, 16)
    assert alike["high"] - alike["low"] > mixed["high"] - mixed["low"]


def test_a_rate_of_one_has_an_interval_of_its_questions() -> None:
    rate = _figures(_rate([[RIGHT] * 8] * 20))
    assert rate["high"] == 1.0
    assert 0.8 < rate["low"] < 0.9
