"""Leaks: what counts as naming, and what as stating an answer."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from collab.core.trajectory import Question
from collab.grading.leak import CANDIDATES, agrees, mentions, results, states
from collab.grading.maths import MathsGrader, MathsSettings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[MathsGrader]:
    async with MathsGrader(MathsSettings(workers=1, seconds=60)) as grader:
        yield grader


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("so it is 12.", "12", True),
        ("12", "12", True),
        ("(12)", "12", True),
        ("12, then", "12", True),
        ("12.0 exactly", "12", True),
        ("12.5", "12", False),
        ("3.12", "12", False),
        ("1,200", "200", False),
        ("1,200", "1", False),
        ("1,200", "1200", True),
        (r"1{,}200", "1200", True),
        ("1200", "1,200", True),
        ("so x = -12", "12", False),
        ("so x = -12", "-12", True),
        ("so x = 12", "-12", False),
        ("20-12", "12", True),
        ("x - 12", "12", True),
        ("312", "12", False),
        ("120", "12", False),
        ("x12", "12", False),
        ("120 and 12", "12", True),
        ("the cat sat", "cat", True),
        ("concatenate", "cat", False),
        (r"so \frac{1}{2} it is", r"\frac{1}{2}", True),
        ("", "12", False),
        ("12", None, False),
        ("12", "", False),
    ],
)
def test_a_text_mentions_an_answer_only_as_a_word_or_number_of_its_own(
    text: str, answer: str | None, there: bool
) -> None:
    assert mentions(text, answer) is there


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_a_number_is_mentioned_by_its_value_alone(one: int, other: int) -> None:
    for text in (f"so it is {one}.", f"${one:,}$"):
        assert mentions(text, str(one))
        assert mentions(text, str(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So 3 + 4 = 7.", ["7"]),
        ("The answer is 12. Wait, it is $13$!", ["13", "12"]),
        (r"Hence \boxed{\frac{1}{2}} it is.", [r"\frac{1}{2}"]),
        ("x = 2y = 1,200 apples", ["1,200 apples", "2y"]),
        ("Let me think about 12.", []),
    ],
)
def test_what_is_said_to_be_so_is_a_result(text: str, found: list[str]) -> None:
    assert results(text) == found


def test_only_the_last_results_of_a_long_text_are_looked_at() -> None:
    text = "".join(f"x = {n}.\n" for n in range(10_000))
    assert results(text) == [str(n) for n in range(9_999, 9_999 - CANDIDATES, -1)]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("answer", "text", "stated"),
    [
        ("12", "So x = 12.", True),
        ("12", "There are 12 cats. So x = 5.", False),
        (r"\frac{1}{2}", "So the share is 0.5.", True),
        (r"\frac{1}{2}", r"We get \boxed{\dfrac12}.", True),
        ("1200", "That makes 1,200.", True),
        ("-12", "That makes 12.", False),
        ("", "That makes 12.", False),
    ],
)
async def test_a_stated_answer_is_found_in_another_form(
    grader: MathsGrader, answer: str, text: str, stated: bool
) -> None:
    assert await states(grader, Question("q", (), answer), text) is stated


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("known", "answer", "same"),
    [
        ("12", "12.0", True),
        ("1200", "1,200", True),
        ("12", "-12", False),
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac{1}{2}", "0.4", False),
        ("", r"\frac{1}{2}", False),
        ("12", None, False),
        (None, "12", False),
    ],
)
async def test_answers_are_the_same_by_their_value(
    grader: MathsGrader, known: str | None, answer: str | None, same: bool
) -> None:
    assert await agrees(grader, Question("q", (), known), answer) is same


async def test_without_a_grader_text_and_number_decide() -> None:
    half = Question("q", (), r"\frac{1}{2}")
    assert await agrees(None, half, r"\frac{1}{2}")
    assert not await agrees(None, half, "0.5")


async def test_options_are_the_same_by_their_letter() -> None:
    asked = Question("q", (), "B", grader="choice", options=("1", "2"))
    assert await agrees(None, asked, "B")
    assert not await agrees(None, asked, "A")
