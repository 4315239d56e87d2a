from fractions import Fraction

import pytest

from collab.grading.normal_form import normal, plain
from collab.grading.quantity import clock, numeral, quantity, same, same_time


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,200", 1200),
        ("-3 1/2", Fraction(-7, 2)),
        (r"\$18.50", Fraction(37, 2)),
        ("3e-2", Fraction(3, 100)),
        (r"18\text{ cm}^{2}", 18),
        (r"\text{two thirds}", Fraction(2, 3)),
        ("2.5 million", 2_500_000),
        (r"5^{\text{th}}", 5),
    ],
)
def test_a_number_is_read_with_its_unit(text: str, value: Fraction) -> None:
    read = quantity(plain(normal(text)))
    assert read is not None
    assert read.value == value


@pytest.mark.parametrize(
    "text", ["", "x", "36\\pi", "2i", "5x", "1,2", r"5\text{ is wrong}", "5 or 6", ">5", "5!"]
)
def test_more_than_a_number_is_no_quantity(text: str) -> None:
    assert quantity(plain(normal(text))) is None


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("200 minutes", "3 hours 20 minutes", True),
        ("200 minutes", "3 hours", False),
        ("5 km", r"5000\text{ m}", True),
        ("5 km", r"5\text{ m}", False),
        ("5 km", "5 kg", False),
        ("200", "3 hours 20 minutes", True),
        ("20", "3 hours 20 minutes", False),
        ("0.3679", "0.36788", True),
        ("0.3679", "0.368", False),
        ("100", "100.004", False),
        ("3.83e35", "3.8304e35", True),
        ("3.8e35", "3.83e35", False),
    ],
)
def test_quantities_are_equal_by_value_and_unit(gold: str, answer: str, equal: bool) -> None:
    one, other = quantity(plain(normal(gold))), quantity(plain(normal(answer)))
    assert one is not None
    assert other is not None
    assert same(one, other) is equal


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("10:30", "10:30 a.m.", True),
        ("20:34", "8:34 PM", True),
        ("10:30 a.m.", "10:30 p.m.", False),
        ("noon", "12:00", True),
        ("10:20", "5:10", False),
    ],
)
def test_times_of_day_are_equal_by_minute(gold: str, answer: str, equal: bool) -> None:
    one, other = clock(gold), clock(answer)
    assert one is not None
    assert other is not None
    assert same_time(one, other) is equal


@pytest.mark.parametrize("text", ["12", "1:2", "25:00", "10:75", "x:30"])
def test_what_is_no_time_of_day_is_not_read_as_one(text: str) -> None:
    assert clock(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("40_9", 36), ("(1101)_{2}", 13), ("2A_{16}", 42), ("1101 base 2", 13), ("49_9", None)],
)
def test_digits_of_a_base_have_a_value_where_they_fit_it(text: str, value: int | None) -> None:
    read = numeral(text)
    assert read is not None
    assert read.value == value


@pytest.mark.parametrize("text", ["x_2", "E_{1}", "40", "40_1", "a_{12}"])
def test_an_index_is_no_base(text: str) -> None:
    assert numeral(text) is None
