from collections.abc import Callable

from collab import Close, View, Write
from collab.policies.answer_by import AnswerBy

Look = Callable[..., View]


async def test_the_thinker_has_the_pen_until_it_closes_its_thinking(look: Look) -> None:
    policy = AnswerBy(answerer="guide")
    assert await policy.decide(look()) == Write("main", why="the thinker thinks")
    assert isinstance(await policy.decide(look(("main", "Add."), step=1)), Write)
    done = await policy.decide(look(("main", "Add."), step=1, closed=True))
    assert isinstance(done, Close)
    assert done.seat == "guide"


async def test_the_thinking_can_be_cut_after_some_units(look: Look) -> None:
    policy = AnswerBy(answerer="guide", units=1)
    assert isinstance(await policy.decide(look()), Write)
    done = await policy.decide(look(("main", "Add."), step=1))
    assert done == Close("guide", why="the thinker wrote 1 units")
    assert isinstance(await AnswerBy(units=0).decide(look()), Close)
