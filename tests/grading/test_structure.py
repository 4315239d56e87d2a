import pytest

from collab.grading.structure import group, sides, split


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ("1, 2", ["1", "2"]),
        ("(1,2), (3,4)", ["(1,2)", "(3,4)"]),
        (r"1 \text{ and } 2", ["1", "2"]),
        ("x=1 or x=2", ["x=1", "x=2"]),
        ("odd", ["odd"]),
        (r"\frac{1,2}{3}", [r"\frac{1,2}{3}"]),
    ],
)
def test_elements_stand_between_outer_commas(form: str, parts: list[str]) -> None:
    assert split(form) == parts


def test_tuples_sets_and_lists_are_told_apart() -> None:
    tuple_, set_, list_ = group("(1,2)"), group(r"\{1,2\}"), group("1,2")
    assert tuple_ is not None
    assert set_ is not None
    assert list_ is not None
    assert [one.unordered for one in (tuple_, set_, list_)] == [False, True, True]


@pytest.mark.parametrize("form", ["5", "(5)", "(1)(2)", "x+1"])
def test_a_single_value_is_no_group(form: str) -> None:
    assert group(form) is None


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("7+8=15", ["15"]),
        ("5=x", ["x", "5"]),
        (r"\sqrt{2}\approx 1.41", ["1.41", r"\sqrt{2}"]),
        ("15", []),
        ("x=1, y=2", []),
        (r"x\le 5", []),
    ],
)
def test_the_last_side_of_a_chain_is_its_result(form: str, found: list[str]) -> None:
    assert sides(form) == found
