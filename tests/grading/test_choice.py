"""Multiple choice: which option an answer means."""

import json
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest

from collab.core.trajectory import Question
from collab.grading.choice import ChoiceGrader
from collab.grading.choice_patterns import STATEMENTS, Statement

ASKED = Question("q", (), "B", grader="choice", options=("3 cm", "four", r"\\frac{1}{2}", "all"))


@pytest.mark.parametrize(
    ("text", "verdict", "strict", "extracted"),
    [
        (r"So \boxed{B}.", "correct", True, "B"),
        (r"\boxed{b}", "correct", True, "B"),
        (r"\boxed{(B)}", "correct", True, "B"),
        (r"\boxed{\text{B}}", "correct", True, "B"),
        (r"\boxed{\textbf{(B) } four}", "correct", True, "B"),
        (r"\boxed{four}", "correct", True, "B"),
        (r"\boxed{3 cm}", "wrong", False, "A"),
        (r"At first \boxed{B}, but \boxed{C}.", "wrong", False, "C"),
        ("The answer is (B).", "correct", False, "B"),
        ("The correct answer is **B**.", "correct", False, "B"),
        ("Answer: D", "wrong", False, "D"),
        ("B) four", "correct", False, "B"),
        (r"\boxed{E}", "wrong", False, "E"),
        ("I cannot say.", "no answer", False, None),
        ("A train leaves, and I cannot say when.", "no answer", False, None),
        ("The answer is a mystery.", "no answer", False, None),
        ("", "no answer", False, None),
    ],
)
async def test_an_option_is_read(
    text: str, verdict: str, strict: bool, extracted: str | None
) -> None:
    judged = await ChoiceGrader().grade(ASKED, text)
    assert (judged.verdict, judged.strict, judged.extracted) == (verdict, strict, extracted)


async def test_a_long_text_is_read_from_its_end() -> None:
    text = "The answer is A. " * 200_000 + "No: the answer is B."
    assert (await ChoiceGrader().grade(ASKED, text)).verdict == "correct"


COLOURS = Question("q", (), "C", grader="choice", options=("red", "green", "blue", "yellow"))


@pytest.mark.parametrize(
    ("text", "by"),
    [
        (r"\boxed{\bf C}", "box"),
        (r"\boxed{\textit{C}}", "box"),
        (r"\boxed{\textrm{(C) blue}}", "box"),
        (r"\boxed{Option C}", "box"),
        ("<answer>C</answer>", "mark"),
        ("So C is correct.", "stated"),
        ("So (C).", "stated"),
        ("Option (c) is correct.", "stated"),
        ("The answer is C. Option A would be red, option B green.", "stated"),
        ("I would go with option C because A is wrong.", "stated"),
        ("The answer is not A but C.", "stated"),
        ("The answer is A... wait, no, it's C.", "stated"),
        ("The answer isn't B; it's C.", "stated"),
        ("Both A and B are wrong. C is the right answer.", "stated"),
        ("Only C works.", "stated"),
        ("We can eliminate A, B and D, leaving C.", "stated"),
        ("答案是C。", "stated"),
        ("正解はCです。", "stated"),
        ("Ответ: C", "stated"),
        ("La respuesta correcta es la C.", "stated"),
        ("It must be blue.", "option text"),
        ("C. blue", "named"),
    ],
)
async def test_the_letter_that_a_reply_states_counts(text: str, by: str) -> None:
    judged = await ChoiceGrader().grade(COLOURS, text)
    assert (judged.verdict, judged.extracted, judged.by) == ("correct", "C", by)
    other = Question("q", (), "A", grader="choice", options=COLOURS.options)
    assert (await ChoiceGrader().grade(other, text)).verdict == "wrong"


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        (r"\boxed{3}", ("$3$", "$5$"), "A"),
        (r"\boxed{B only}", ("A and C", "B only", "C"), "B"),
        ("Yes", ("yes", "no"), "A"),
        ("The answer is no.", ("Yes", "No"), "B"),
        ("That is false.", ("True", "False"), "B"),
        ("It is neither red nor green.", ("red", "green"), None),
    ],
)
async def test_the_text_of_an_option_is_read(
    text: str, options: tuple[str, ...], letter: str | None
) -> None:
    asked = Question("q", (), "A", grader="choice", options=options)
    assert (await ChoiceGrader().grade(asked, text)).extracted == letter


CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "choice_cases.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["answer"][-60:])
async def test_a_reply_is_right_for_the_option_that_it_states_and_wrong_for_every_other(
    case: dict[str, Any],
) -> None:
    letters = ascii_uppercase[: len(case["options"])]
    verdicts = {}
    for gold in letters:
        question = Question("q", (), gold, grader="choice", options=tuple(case["options"]))
        verdicts[gold] = (await ChoiceGrader().grade(question, case["answer"])).verdict
    right = [gold for gold, verdict in verdicts.items() if verdict == "correct"]
    assert right == ([case["option"]] if case["option"] else [])


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.why)
def test_each_statement_is_made_in_a_case(statement: Statement) -> None:
    assert any(statement.pattern.search(case["answer"]) for case in CASES)
