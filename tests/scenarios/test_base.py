import asyncio
from typing import ClassVar

import pytest

from collab.core.boundary import Boundary, Tokens
from collab.core.decision import Decision, Stop
from collab.core.policy import View
from collab.core.settings import Settings
from collab.core.trajectory import Finish, Message, Question, Trajectory, Unit, Wrote
from collab.episode.engine import Episode
from collab.errors import ConfigError
from collab.scenarios.base import (
    Bank,
    Verdict,
    finish_verdict,
    parts_of,
    rank,
    ranked,
    with_factors,
)


class Mild(Settings):
    at: float = 0.0
    phrase: str = "Hm."

    async def decide(self, view: View) -> Decision:
        return Stop("done")


class Odd:
    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        return Stop("done")


class Nested(Settings):
    """A policy with a boundary among its settings."""

    at: float = 0.0
    until: Boundary = Tokens(count=7)

    async def decide(self, view: View) -> Decision:
        return Stop("never played")


def test_a_factor_leaves_the_other_settings_whole() -> None:
    assert with_factors(Nested(), at=0.4) == Nested(at=0.4, until=Tokens(count=7))


def test_factors_change_what_they_name_and_leave_the_policy_as_it_was() -> None:
    policy = Mild(phrase="Oh.")
    assert with_factors(policy, at=0.4) == Mild(at=0.4, phrase="Oh.")
    assert policy == Mild(at=0.0, phrase="Oh.")


def test_a_factor_that_the_policy_lacks_is_an_error_that_names_what_it_has() -> None:
    with pytest.raises(ConfigError, match=r"sets guide, .* Mild lacks .*at, phrase"):
        with_factors(Mild(), guide="guide", at=0.1)


def test_a_factor_is_validated_as_a_setting_is() -> None:
    with pytest.raises(ConfigError, match="at"):
        with_factors(Mild(), at="far")


def test_a_policy_without_settings_takes_no_factors() -> None:
    with pytest.raises(ConfigError, match="Odd is not a pydantic model"):
        with_factors(Odd(), at=0.4)


def test_the_rank_of_content_is_the_same_for_ever() -> None:
    assert rank("a", 1).hex() == "9a7f386fd1afb2ac"
    assert rank("a", 1) != rank("a", 2)


def asked(*names: str) -> list[Question]:
    return [Question(name, (Message("user", f"{name}?"),), name) for name in names]


async def test_a_question_is_ready_once_it_and_all_ranked_before_it_have_their_draws() -> None:
    first, second, third = ranked(asked("a", "b", "c"))
    waits = {question.id: asyncio.Event() for question in (first, second, third)}
    bank = Bank([third, first, second], {"main": {}}, waits)
    stream = bank.ready()
    coming = asyncio.ensure_future(anext(stream))
    bank.solos["main"] = {second.id: (), first.id: ()}
    waits[second.id].set()
    await asyncio.sleep(0)
    assert not coming.done()
    waits[first.id].set()
    assert [await coming, await anext(stream)] == [first, second]
    waits[third.id].set()  # whose draws failed
    assert [question async for question in stream] == []


def test_questions_are_ranked_by_content_whatever_their_order() -> None:
    names = [question.id for question in ranked(asked(*"abcdef"))]
    assert names == [question.id for question in ranked(asked(*"fbdace"))] != sorted(names)


@pytest.mark.parametrize(
    ("finish", "verdict"),
    [
        ("answered", None),
        ("never closed", "thinking never closed"),
        ("context full", "context full"),
        ("refused", "refused"),
        ("prompt changed", "endpoint dropped the prefix"),
        ("stopped", "no answer"),
    ],
)
def test_how_an_episode_ended_settles_its_verdict(finish: Finish, verdict: Verdict | None) -> None:
    assert finish_verdict(Episode("case", Trajectory(), finish)) == verdict


def test_a_stopped_episode_with_an_answer_is_graded() -> None:
    answered = Trajectory().add(Wrote(Unit("main", "7", "generated", phase="answer")))
    assert finish_verdict(Episode("case", answered, "stopped")) is None


def test_what_stands_in_a_seats_name_is_its_own_whoever_put_it_there_but_for_signals() -> None:
    units = (
        Unit("planner", "First add. ", "inserted", tokens=3),
        Unit("main", "So 7. ", "generated", tokens=2),
        Unit("main", "<call>", "signal", tokens=5),
        Unit("main", "7", "generated", phase="answer", tokens=1),
    )
    episode = Episode("c", Trajectory.replay(tuple(map(Wrote, units))), "answered")
    parts = parts_of(episode)
    assert {seat: part.tokens for seat, part in parts.items()} == {"planner": 3, "main": 3}
    assert {seat: (part.units, part.kept) for seat, part in parts.items()} == {
        "planner": (0, 0),
        "main": (1, 1),
    }
