from collections.abc import Callable
from dataclasses import dataclass

import pytest

from collab import (
    AfterUnits,
    Called,
    Close,
    Decision,
    Insert,
    Paragraph,
    Sentence,
    Tag,
    Tokens,
    Unit,
    View,
    Write,
)
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.policies.offload import Offload, Poll

Look = Callable[..., View]
RELAY = Offload(
    when=Called(tag="</call>"),
    until=Tag(tag="</call>", opens="<call>"),
    asks=r"<call>\s*(\d+)\s*</call>",
    calls=2,
)
SPLIT = Offload(
    when=Called(tag="<bigmodel>"),
    until=Tag(tag="<bigmodel>"),
    turn=Tokens(count=64),
    units=3,
    poll=Poll(tag="</bigmodel>"),
)


def call(text: str) -> Unit:
    return Unit("main", text, "signal")


@dataclass(frozen=True)
class Willing:
    """Finds any text equally likely."""

    logprob: float

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        raise AssertionError

    async def score(self, seat: str, text: str) -> Likelihood:
        assert (seat, text) == ("main", "</bigmodel>")
        return Likelihood(self.logprob, 3)

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        raise AssertionError


async def written(policy: Offload, view: View) -> tuple[str, object]:
    decision = await policy.decide(view)
    assert isinstance(decision, Write)
    return decision.seat, decision.until


async def test_the_helper_writes_a_turn_where_the_condition_holds_and_main_goes_on(
    look: Look,
) -> None:
    policy, mine, theirs = Offload(when=AfterUnits(count=2)), ("main", "a."), ("helper", "b.")
    assert await written(policy, look(mine)) == ("main", Sentence())
    assert await written(policy, look(mine, mine)) == ("helper", Paragraph())
    assert await written(policy, look(mine, mine, theirs)) == ("main", Sentence())
    assert await written(policy, look(mine, mine, theirs, mine)) == ("main", Sentence())


async def test_a_call_asks_for_so_many_tokens_and_only_so_many_are_answered(look: Look) -> None:
    ask, theirs = call("<call>48</call>"), ("helper", "b.")
    assert await written(RELAY, look(("main", "a."), ask)) == ("helper", Tokens(count=48))
    asked_twice = look(ask, theirs, ask)
    assert await written(RELAY, asked_twice) == ("helper", Tokens(count=48))
    assert await written(RELAY, look(ask, theirs, ask, theirs, ask)) == ("main", RELAY.until)


@pytest.mark.parametrize(("said", "tokens"), [("<call>0</call>", 1), ("<call>x</call>", None)])
async def test_a_call_for_nothing_gets_a_token_and_one_without_a_number_a_turn(
    look: Look, said: str, tokens: int | None
) -> None:
    _, until = await written(RELAY, look(call(said)))
    assert until == (Tokens(count=tokens) if tokens else RELAY.turn)


async def test_main_takes_the_pen_back_where_it_would_write_its_closing_tag(look: Look) -> None:
    asked = (("main", "a."), call("<bigmodel>"), ("helper", "b"))
    on = await SPLIT.decide(look(*asked, aside=Willing(-1.0)))
    assert isinstance(on, Write)
    assert on.seat == "helper"
    back = await SPLIT.decide(look(*asked, aside=Willing(-0.1)))
    assert back == Insert("main", "</bigmodel>", "main takes the turn back", signal=True)
    assert await written(SPLIT, look(*asked, call("</bigmodel>"))) == ("main", SPLIT.until)


async def test_main_takes_the_pen_back_unasked_at_the_end_of_the_helpers_share(look: Look) -> None:
    asked = (call("<bigmodel>"), *[("helper", "b")] * 3)
    assert isinstance(await SPLIT.decide(look(*asked)), Insert)


async def test_main_answers_whoever_closed(look: Look) -> None:
    closed = await Offload().decide(look(("helper", "b."), closed=True))
    assert closed == Close("main", why="helper closed the thinking")
