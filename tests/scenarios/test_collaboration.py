import asyncio

from collab.scenario import Bank, Plan
from collab.scenarios.collaboration import Collaboration
from collab.trajectory import Message, Question
from policies.alternate import Alternate

ASKED = [Question(name, (Message("user", name),), "1", labels={"level": "easy"}) for name in "ab"]


def test_every_question_is_played_as_often_as_asked_with_fresh_draws() -> None:
    scenario = Collaboration(samples=2)
    plan = asyncio.run(Plan.of(scenario.cases(Bank(ASKED), Alternate())))
    assert sorted(case.id for case in plan.cases) == ["a/0", "a/1", "b/0", "b/1"]
    assert {case.draw for case in plan.cases} == {None}
    assert {case.policy for case in plan.cases} == {Alternate()}
    assert scenario.most(2) == 4


def test_it_needs_no_bank_and_sets_nothing_of_the_policy() -> None:
    assert Collaboration().solos() == {}
    assert Collaboration().factors() == {}
