from collections.abc import Callable

import pytest
from pydantic import ValidationError

from collab import Close, Sentence, View, Write
from collab.policies.alternate import Alternate

Look = Callable[..., View]


@pytest.mark.parametrize(("units", "order"), [(1, "abcabcabc"), (2, "aabbccaab"), (4, "aaaabbbbc")])
async def test_three_seats_write_so_many_units_each_round_and_round(
    look: Look, units: int, order: str
) -> None:
    policy, written = Alternate(seats=("a", "b", "c"), units=units), list[tuple[str, str]]()
    for step in range(len(order)):
        decision = await policy.decide(look(*written, step=step))
        assert isinstance(decision, Write)
        assert decision.until == Sentence()
        written.append((decision.seat, "x."))
    assert "".join(author for author, _ in written) == order


async def test_whoever_closes_its_thinking_answers(look: Look) -> None:
    policy = Alternate(seats=("a", "b", "c"))
    closed = await policy.decide(look(("a", "x"), ("b", "y"), step=2, closed=True))
    assert closed == Close("b", why="b closed its thinking")


async def test_a_reason_counts_turns_and_units_from_one(look: Look) -> None:
    decision = await Alternate(seats=("a", "b"), units=2).decide(look(*[("a", "x")] * 3, step=3))
    assert decision == Write("b", Sentence(), why="unit 2 of 2 in turn 2")


@pytest.mark.parametrize("settings", [{"seats": ()}, {"units": 0}, {"seat": "a"}])
def test_a_round_of_nobody_or_nothing_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Alternate.model_validate(settings)
