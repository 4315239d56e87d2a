"""Multiple choice: which option an answer means."""

import pytest

from collab.core.trajectory import Question
from collab.grading.choice import ChoiceGrader

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
