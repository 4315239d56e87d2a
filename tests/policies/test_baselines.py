"""The baselines that every router must beat."""

from collections import Counter
from collections.abc import Callable

import pytest

from collab import AfterUnits, Close, Unit, View, Write
from collab.policies.alternate import Alternate
from collab.policies.fixed_ratio import FixedRatio
from collab.policies.random_switch import RandomSwitch
from collab.policies.self_handoff import SelfHandoff
from collab.policies.until import Until
from collab.testing import check_policy

Look = Callable[..., View]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_random_switch_gives_the_partner_its_share_of_the_units(share: float) -> None:
    authors = Counter(
        unit.author
        for one in check_policy(RandomSwitch(share=share))
        for unit in one.trajectory.units
    )
    given = authors["partner"] / authors.total()
    assert given == share if share in (0, 1) else 0.05 < given < 0.7


async def test_a_fixed_ratio_gives_the_pen_to_whoever_is_behind(look: Look) -> None:
    policy = FixedRatio(share=0.25)
    mine, theirs = (
        Unit("main", "a.", "generated", tokens=6),
        Unit("partner", "b.", "generated", tokens=2),
    )
    for written, seat in (([], "main"), ([mine], "partner"), ([mine, theirs], "main")):
        decision = await policy.decide(look(*written))
        assert isinstance(decision, Write)
        assert decision.seat == seat


async def test_main_hands_to_itself_until_it_closes(look: Look) -> None:
    again = await SelfHandoff().decide(look(("main", "a.")))
    assert isinstance(again, Write)
    assert (again.seat, again.why) == ("main", "main hands to itself, unit 2")
    assert isinstance(await SelfHandoff().decide(look(("main", "a."), closed=True)), Close)


@pytest.mark.parametrize("policy", [RandomSwitch(), FixedRatio()])
async def test_main_answers_whoever_closed(look: Look, policy: RandomSwitch | FixedRatio) -> None:
    closed = await policy.decide(look(("partner", "a."), closed=True))
    assert closed == Close("main", why="partner closed the thinking")


async def test_any_policy_ends_where_a_condition_holds_and_any_seat_answers(look: Look) -> None:
    policy = Until(policy=Alternate(), end=AfterUnits(count=2), answerer="judge")
    on = await policy.decide(look(("main", "a.")))
    assert isinstance(on, Write)
    assert on.seat == "partner"
    over = await policy.decide(look(("main", "a."), ("partner", "b.")))
    assert over == Close("judge", why="AfterUnits(count=2) holds")
