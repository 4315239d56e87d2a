"""Gold answers are checked before draws are paid for."""

import asyncio
from pathlib import Path

import pytest

from collab.core.trajectory import Checks, Domain, Question
from collab.grading import Grader, Graders, Judgement
from collab.grading.choice import ChoiceGrader
from collab.grading.code import CodeGrader, CodeSettings
from collab.grading.gold import GoldChecker, changed
from collab.grading.maths import MathsGrader
from collab.grading.refusal import RefusalGrader

DOUBLE = "def double(x):\n    return 2 * x\n"
CHECKS = Checks({"base": "assert double(3) == 6"}, entry="double")


GOLDS = (
    *("7", "0", "-3.5", r"\frac{1}{20}", "1,234", "9.99e-5", "10110_2", r"\{1, 2\}", "x^2 + 1"),
    *("blue", "(2, 3]", r"\sqrt{2}", "1^{5}", r"50\%", r"\pi", "x = 4", "12:30", "2.0001"),
    "3 hours 20 minutes",
)


FAULTS = (
    (Question("null", (), None), "no gold answer (null)"),
    (Question("empty", (), ""), "cannot be read"),
    (Question("letter", (), "E", grader="choice", options=("a", "b")), "no letter of its options"),
    (Question("maybe", (), "maybe", grader="refusal"), "is not refuse or comply"),
    (
        Question("wrong", (), DOUBLE.replace("2", "3"), grader="code", checks=CHECKS),
        "does not pass its own tests: {'base': ",
    ),
    (
        Question("broken", (), DOUBLE, grader="code", checks=Checks({"base": "assert )"})),
        "the tests are broken",
    ),
)


async def test_unusable_gold_answers_are_named_with_their_faults_and_usable_ones_are_not() -> None:
    usable = [Question(gold, (), gold) for gold in GOLDS]
    usable += [Question("program", (), DOUBLE, grader="code", checks=CHECKS)]
    usable += [Question("B", (), "B", grader="choice", options=("a", "b"))]
    code = CodeSettings(sandbox="unsafe_subprocess")
    async with MathsGrader() as maths, CodeGrader(code) as programs:
        by: dict[Domain, Grader] = {"maths": maths, "code": programs}
        graders = Graders({**by, "choice": ChoiceGrader(), "refusal": RefusalGrader()})
        async with GoldChecker(graders) as checker:
            found = await checker.faults([*usable, *(question for question, _ in FAULTS)])
    assert list(found) == [question.id for question, _ in FAULTS]
    for question, fault in FAULTS:
        assert fault in found[question.id]


class Forgiving:
    """A grader to which every answer is right."""

    async def grade(self, question: Question, text: str) -> Judgement:
        return Judgement("correct", True, True, text)


async def test_a_gold_answer_that_everything_equals_is_unusable() -> None:
    async with GoldChecker(Forgiving()) as checker:
        found = await checker.faults([Question("q", (), "7")])
    assert found == {"q": "any answer equals the gold answer '7'"}


async def test_a_reference_program_that_passed_is_not_run_again(tmp_path: Path) -> None:
    question = Question("q", (), DOUBLE, grader="code", checks=CHECKS)
    file = tmp_path / "verdicts.sqlite"
    async with (
        CodeGrader(CodeSettings(sandbox="unsafe_subprocess")) as code,
        GoldChecker(code, file) as checker,
    ):
        assert await checker.faults([question]) == {}

    class Untouched:
        async def grade(self, question: Question, text: str) -> Judgement:
            raise AssertionError("it was run again")

    async with GoldChecker(Untouched(), file) as checker:
        assert await checker.faults([question]) == {}


@pytest.mark.parametrize("gold", ["0.5", "1e-9", "99", "3.14159"])
def test_a_changed_number_differs_by_more_than_any_tolerance(gold: str) -> None:
    first = float(next(changed(gold)))
    assert abs(first - float(gold)) > 0.01 * abs(float(gold))


async def test_questions_are_checked_at_the_same_time() -> None:
    meeting = asyncio.Barrier(3)

    class Waiting:
        async def grade(self, question: Question, text: str) -> Judgement:
            await meeting.wait()
            return Judgement("wrong", False, False, text)

    async with GoldChecker(Waiting()) as checker:
        questions = [Question(str(n), (), str(n)) for n in range(3)]
        assert len(await checker.faults(questions)) == 3
