from collections.abc import Callable

import pytest
from pydantic import ValidationError

from collab import Close, Share, View, Write
from collab.policies.guide import Guide

Look = Callable[..., View]
GUIDED = {"guide": 100}


async def test_the_guide_begins_with_its_share_and_main_goes_on(look: Look) -> None:
    policy = Guide(length=0.4)
    first = await policy.decide(look(recordings=GUIDED))
    assert isinstance(first, Write)
    assert (first.seat, first.until) == ("guide", Share(of=0.4))
    assert "40%" in first.why
    then = await policy.decide(look(("guide", "Add."), step=1, recordings=GUIDED))
    assert then == Write("main", why="main continues")


async def test_without_a_recording_main_thinks_alone(look: Look) -> None:
    assert await Guide().decide(look()) == Write("main", why="main continues")


async def test_main_answers_whoever_closed_the_thinking(look: Look) -> None:
    for author in ("main", "guide"):
        decision = await Guide().decide(look((author, "Add."), step=1, closed=True))
        assert isinstance(decision, Close)
        assert decision.seat == "main"


@pytest.mark.parametrize("length", [0, -0.2, 1.7])
def test_a_share_outside_0_to_1_is_refused(length: float) -> None:
    with pytest.raises(ValidationError):
        Guide(length=length)


async def test_a_forced_answer_comes_right_behind_the_guides_share(look: Look) -> None:
    policy = Guide(length=0.4, force=True)
    now = Close("main", why="the answer is forced without further thinking")
    first = await policy.decide(look(recordings=GUIDED))
    assert isinstance(first, Write)
    assert (first.seat, first.until) == ("guide", Share(of=0.4))
    assert await policy.decide(look(("guide", "Add."), step=1, recordings=GUIDED)) == now
    assert await policy.decide(look()) == now
