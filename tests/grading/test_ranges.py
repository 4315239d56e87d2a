import pytest

from collab.grading.normal_form import normal, plain
from collab.grading.ranges import as_interval


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("1<x\\le 2", "(1,2]"),
        ("5>x>2", "(2,5)"),
        ("x\\geq -3", r"[-3,\infty)"),
        ("42<x", r"(42,\infty)"),
        (r"5\text{ or more}", r"[5,\infty)"),
        (r"\text{less than }5", r"(-\infty,5)"),
        (r"x>2\text{ and }x<5", "(2,5)"),
        (r"x<1\text{ or }x>3", r"(-\infty,1)\cup (3,\infty)"),
        (r"\{x \mid x\ge 0\}", r"[0,\infty)"),
        (r"x\in (1,2]", "(1,2]"),
    ],
)
def test_bounds_of_one_variable_are_an_interval(text: str, interval: str) -> None:
    read = as_interval(plain(normal(text)))
    assert read is not None
    assert read.form == interval


@pytest.mark.parametrize("text", ["5", "x", "x=5", "y<x", "x<1\\text{ or }y>3", "1<x<y", ""])
def test_what_bounds_no_single_variable_is_no_interval(text: str) -> None:
    assert as_interval(plain(normal(text))) is None
