import json
from collections import defaultdict
from pathlib import Path

import pytest

from collab.grading.equality import DECIDERS, MATHS, compare, readable
from collab.grading.maths import _judge
from collab.grading.normal_form import RULES

FILE = Path(__file__).with_name("maths_cases.jsonl")
CASES = {
    "same text": (r"\frac{1}{2}", r"\dfrac12", None),
    "denial": ("5", None, r"5\text{ is wrong}"),
    "time of day": ("20:34", "8:34 p.m.", "8:34 a.m."),
    "number base": ("40_9", "36", "40_7"),
    "number": (r"50\%", "0.5", "0.05"),
    "option": (r"\text{(C)}", r"\textbf{(C) }12", r"\textbf{(D) }12"),
    "empty set": (r"\varnothing", r"\text{no solution}", None),
    "words": ("tea", r"\text{Tea}.", "eat"),
    "continued list": (r"1, 3, \ldots", r"1, 3.0, \dots", r"1, 2, \ldots"),
    "interval": ("x>42", r"(42,\infty)", "42"),
    "sides": ("15", "7+8=15", None),
    "elements": ("1, 2, 3", r"\{3, 2, 1.0\}", "1, 2, 4"),
}


@pytest.mark.parametrize("name", DECIDERS)
def test_each_rule_decides_right_and_wrong_answers_by_its_name(name: str) -> None:
    gold, right, wrong = CASES[name]
    assert right is None or compare(gold, right) == (True, name)
    assert wrong is None or compare(gold, wrong) == (False, name)


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x-1)^2", False),
        (r"e^{i\pi}", "-1", True),
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", False),
        (r"\sqrt{2}", "1.4142", True),
        (r"\sqrt{2}", "1.41", False),
    ],
)
def test_what_no_rule_decides_is_left_to_math_verify(gold: str, answer: str, equal: bool) -> None:
    assert compare(gold, answer) == (equal, MATHS)


def test_the_rules_are_listed_in_the_docs_with_their_reasons() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "grading.md").read_text(encoding="utf-8")
    told = [f"| {rule.name} | {rule.why} |" for rule in RULES]
    told += [
        f"| `{name}` | {str(rule.__doc__).splitlines()[0]} |" for name, rule in DECIDERS.items()
    ]
    assert [row for row in told if row not in docs] == []


def _by_kind() -> dict[str, list[dict[str, str]]]:
    kinds = defaultdict(list)
    for line in FILE.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        kinds[case["kind"]].append(case)
    return kinds


KINDS = _by_kind()


@pytest.mark.parametrize("kind", KINDS)
def test_labelled_answers_of_each_kind_are_judged_as_labelled(kind: str) -> None:
    missed = [
        case
        for case in KINDS[kind]
        if (_judge(case["gold"], case["answer"]).verdict == "correct")
        != (case["want"] == "correct")
    ]
    assert missed == []


def test_a_third_of_the_labelled_answers_is_wrong() -> None:
    wanted = [case["want"] for cases in KINDS.values() for case in cases]
    assert wanted.count("not correct") >= len(wanted) / 3


@pytest.mark.parametrize("gold", ["7", r"\text{red}", "10:30", "40_9", r"\emptyset", "x+1"])
def test_a_gold_answer_of_any_kind_is_readable(gold: str) -> None:
    assert readable(gold)


@pytest.mark.parametrize("gold", ["", " ", "$$"])
def test_an_empty_gold_answer_is_not_readable(gold: str) -> None:
    assert not readable(gold)
