import random
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from collab import (
    AfterMoney,
    AfterSeconds,
    AfterTokens,
    AfterUnits,
    Boxed,
    Called,
    Condition,
    Repeats,
    Says,
    Trajectory,
    Unit,
    Unsure,
    View,
)
from collab.core.cost import Cost


def view(units: Sequence[Unit], spent: Cost) -> View:
    return View((), Trajectory((), tuple(units)), (), {}, 9, 0, None, random.Random(0), spent)


def holds(condition: Condition, *units: Unit | str, spent: Cost | None = None) -> bool:
    stretch = [one if isinstance(one, Unit) else Unit("main", one, "generated") for one in units]
    return condition.holds(view(stretch, spent or Cost()), stretch)


def unsure(entropy: float | None) -> Unit:
    return Unit("main", "Hm.", "generated", top20_entropy=entropy)


def long(tokens: int) -> Unit:
    return Unit("main", "Add.", "generated", tokens=tokens)


CALL = Unit("main", "<call>8</call>", "signal")


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        (AfterUnits(count=2), ["a", "b"], ["a"]),
        (AfterTokens(count=9), [long(4), long(5)], [long(8)]),
        (Says(pattern="wait"), ["Add.", "Wait, no."], ["Wait, no.", "Add."]),
        (Says(pattern="wait", last=None), ["Wait, no.", "Add."], ["Add."]),
        (Says(pattern="let me check"), ["Let me check."], []),
        (Boxed(), ["It is \\boxed{", "7}."], ["It is \\boxed{}."]),
        (Repeats(), ["So 7.", "Add.", " So  7."], ["So 7.", "So 8."]),
        (Repeats(times=2), ["a", "a", "a"], ["a", "a"]),
        (Repeats(), [" ", "x", "x"], ["", ""]),
        (Unsure(entropy_above=1, units=2), [unsure(1.5), unsure(1.1)], [unsure(1.5), unsure(1)]),
        (Unsure(entropy_above=1), [unsure(2)], [unsure(None)]),
        (Called(tag="</call>"), ["Add.", CALL], [CALL, "Add."]),
        (Called(tag="</call>"), [CALL], ["<call>8</call>"]),
        (AfterUnits(count=2) | Boxed(), ["\\boxed{7}"], ["a"]),
        (AfterUnits(count=2) & Boxed(), ["a", "\\boxed{7}"], ["\\boxed{7}"]),
        (AfterUnits(count=3) | AfterUnits(count=2) & Boxed(), ["a", "b", "c"], ["a", "b"]),
    ],
)
def test_a_condition_holds_of_one_stretch_and_not_of_another(
    condition: Condition, yes: list[Unit | str], no: list[Unit | str]
) -> None:
    assert holds(condition, *yes)
    assert not holds(condition, *no)


def test_money_and_seconds_are_those_of_the_episode() -> None:
    assert holds(AfterMoney(dollars=0.5), spent=Cost(money=0.5))
    assert not holds(AfterMoney(dollars=0.5), spent=Cost(money=0.4))
    assert holds(AfterSeconds(seconds=9), spent=Cost(seconds=9.5))
    assert not holds(AfterSeconds(seconds=9), spent=Cost(seconds=8))


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="is not a regular expression"):
        Says(pattern="(")
