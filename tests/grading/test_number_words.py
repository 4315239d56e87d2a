from fractions import Fraction

import pytest

from collab.grading.number_words import number_of, starts_with_number


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("three", 3),
        ("forty-two", 42),
        ("one hundred and five", 105),
        ("two thousand three hundred", 2300),
        ("negative five", -5),
        ("a dozen", 12),
        ("one half", Fraction(1, 2)),
        ("two thirds", Fraction(2, 3)),
        ("three and a half", Fraction(7, 2)),
    ],
)
def test_number_words_have_a_value(words: str, value: Fraction) -> None:
    assert number_of(words) == value


@pytest.mark.parametrize("words", ["", "a", "and", "red", "three cats", "3", "one or two"])
def test_other_words_have_no_value(words: str) -> None:
    assert number_of(words) is None


def test_the_rest_behind_number_words_is_returned() -> None:
    assert starts_with_number("twenty one apples") == (Fraction(21), "apples")
    assert starts_with_number("red apples") is None
