"""Every policy that comes with collab keeps the contract, in its forms."""

import pytest

from collab import AfterTokens, Called, Policy, Regex, Repeats, Says, Tag, Tokens, Unsure
from collab.policies.aggregate import Aggregate
from collab.policies.alternate import Alternate
from collab.policies.answer_by import AnswerBy
from collab.policies.budget_force import BudgetForce
from collab.policies.distractor import Distractor
from collab.policies.fixed_ratio import FixedRatio
from collab.policies.fork_join import ForkJoin
from collab.policies.guide import Guide
from collab.policies.human import AtTheTable
from collab.policies.intervene import Intervene
from collab.policies.offload import Offload, Poll
from collab.policies.overseer import Overseer, Rule
from collab.policies.plan_then_solve import PlanThenSolve
from collab.policies.propose_and_choose import ProposeAndChoose
from collab.policies.random_switch import RandomSwitch
from collab.policies.self_handoff import SelfHandoff
from collab.policies.solo import Solo
from collab.policies.speculate import Likely, Speculate
from collab.policies.speculative_thinking import SpeculativeThinking
from collab.policies.tool import UseTool
from collab.policies.until import Until
from collab.testing import check_policy

FORMS: list[Policy] = [
    Alternate(),
    AnswerBy(),
    Distractor(),
    FixedRatio(share=0.3),
    Guide(),
    Guide(force=True),
    Distractor(times=3, length=0.4, cut="chunk"),
    Distractor(corrector="guide"),
    Offload(),
    Offload(when=Unsure(entropy_above=0.5)),
    Offload(when=Says(pattern="wait|hmm")),
    Offload(
        when=Called(tag="<bigmodel>"),
        until=Tag(tag="<bigmodel>"),
        turn=Tokens(count=8),
        units=4,
        poll=Poll(tag="</bigmodel>"),
    ),
    Offload(
        when=Called(tag="</call>"),
        until=Tag(tag="</call>", opens="<call>"),
        asks=r"<call>(\d+)</call>",
        calls=5,
    ),
    Overseer(),
    Overseer(overseer=None, rules=(Rule(when=Repeats(), then="stop"),)),
    RandomSwitch(),
    SelfHandoff(),
    Solo(),
    Aggregate(),
    AtTheTable(),
    BudgetForce(waits=2, most=60),
    ForkJoin(),
    Intervene(),
    Intervene(at="when", when=Says(pattern="hmm"), times=2),
    Intervene(at="end"),
    PlanThenSolve(),
    PlanThenSolve(rounds=3, units=2),
    ProposeAndChoose(voters=("a", "b")),
    Speculate(),
    Speculate(begins=2, ahead=False),
    Speculate(likely=Likely(chance=0.3)),
    SpeculativeThinking(tokens=3, most_doubts=2),
    UseTool(),
    UseTool(until=Regex(pattern=r"\d+\."), asks=r"(\d+)\.", shows=" {}", calls=2),
    Until(policy=Alternate(), end=AfterTokens(count=40)),
]


@pytest.mark.parametrize("policy", FORMS, ids=lambda one: type(one).__name__)
def test_a_policy_keeps_its_contract(policy: Policy) -> None:
    check_policy(policy)


def test_a_policy_that_plays_recordings_keeps_its_contract() -> None:
    check_policy(Distractor(at=0.4), recordings=[True])
