from collections.abc import Callable

from collab import Close, Share, View, Write
from policies.force_answer import ForceAnswer

Look = Callable[..., View]
NOW = Close("main", why="nothing is thought before the answer")


async def test_the_guides_share_is_all_the_thinking(look: Look) -> None:
    policy, given = ForceAnswer(length=0.4), {"guide": 100}
    first = await policy.decide(look(recordings=given))
    assert isinstance(first, Write)
    assert (first.seat, first.until) == ("guide", Share(of=0.4))
    assert await policy.decide(look(("guide", "Add."), step=1, recordings=given)) == NOW


async def test_without_a_recording_the_answer_comes_at_once(look: Look) -> None:
    assert await ForceAnswer().decide(look()) == NOW
