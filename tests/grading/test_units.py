import pytest

from collab.grading.units import unit_of


@pytest.mark.parametrize(
    ("text", "kind", "factor"),
    [
        ("cm", "length^1", 0.01),
        ("«km/h»", "length^1·time^-1", 1000 / 3600),
        ("«square feet»", "length^2", 0.3048**2),
        ("minutes", "time^1", 60),
        ("apples", "", 1),
        ("cups of flour", "", 1),
    ],
)
def test_known_units_have_a_kind_and_a_factor(text: str, kind: str, factor: float) -> None:
    unit = unit_of(text)
    assert unit is not None
    assert unit.kind == kind
    assert float(unit.factor) == pytest.approx(factor)


@pytest.mark.parametrize("text", ["x", "ab", r"\pi", "is wrong", "or more", "«not»", "m", ""])
def test_variables_and_speech_are_no_units(text: str) -> None:
    assert unit_of(text) is None
