from collections.abc import Callable

from collab import Close, View, Write
from collab.policies.solo import Solo

Look = Callable[..., View]


async def test_main_holds_the_pen_until_it_closes_its_thinking(look: Look) -> None:
    assert await Solo().decide(look()) == Write("main", why="main thinks alone")
    written = ("main", "One."), ("main", "Two.")
    assert isinstance(await Solo().decide(look(*written, step=2)), Write)
    closed = await Solo().decide(look(*written, step=2, closed=True))
    assert closed == Close("main", why="main closed its thinking")


async def test_the_seat_is_a_setting(look: Look) -> None:
    decision = await Solo(main="drafter").decide(look())
    assert isinstance(decision, Write)
    assert decision.seat == "drafter"
