"""The conformance kit names the rule that a plugin breaks."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from collab import (
    Case,
    Close,
    Decision,
    Insert,
    Policy,
    Recording,
    Settings,
    Stop,
    View,
    Write,
    Writer,
)
from collab.config.config import build
from collab.endpoints.profile import Profile
from collab.endpoints.scripted import ScriptedServer, attentive
from collab.errors import ConfigError
from collab.pocket.server import find
from collab.scenarios.base import Bank, ranked
from collab.scenarios.collaboration import Collaboration
from collab.testing import check_endpoint, check_policy, check_scenario
from collab.testing.endpoint import check_profile
from tests.config.test_config import OPTIONS, config, overrides_for
from tests.conftest import Served


class Good(Settings):
    main: Writer = "main"

    async def decide(self, view: View) -> Decision:
        return Close(self.main) if view.closed_by else Write(self.main)


class Counting(Good):
    count: ClassVar[list[int]] = []

    async def decide(self, view: View) -> Decision:
        self.count.append(1)
        return Write(self.main, why=f"{len(self.count)}")


class Dicing(Good):
    async def decide(self, view: View) -> Decision:
        return Stop(str(random.random()))


class Undeclared(Good):
    async def decide(self, view: View) -> Decision:
        return Write("helper")


class Stumbling(Good):
    async def decide(self, view: View) -> Decision:
        return Write(self.main) if view.step == len(view.units) else Stop(view.units[-1].text)


class Endless(Good):
    async def decide(self, view: View) -> Decision:
        return Insert(self.main, "")


class Asking(Good):
    asked: ClassVar[list[int]] = []

    async def decide(self, view: View) -> Decision:
        self.asked.append(1)
        if len(self.asked) == 2:
            await view.ask(self.main, "Well?")
        return Stop("enough")


class Hot(Settings):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=False)

    async def decide(self, view: View) -> Decision:
        return Stop("at once")


def test_a_policy_that_keeps_its_contract_passes_and_all_its_episodes_end() -> None:
    finishes = [episode.finish for episode in check_policy(Good())]
    assert set(finishes) == {"answered", "never closed"}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Counting(), "from the same view"),
        (Dicing(), "take random numbers only from view.rng"),
        (Undeclared(), r"declares only the seats \['main'\]"),
        (Stumbling(), "IndexError"),
        (Asking(), "from the same view it asks 'main' another side question"),
        (Hot(), "is not frozen"),
    ],
)
def test_what_breaks_the_contract_is_named(policy: Good, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_policy(policy)


def test_a_policy_that_never_ends_is_found() -> None:
    with pytest.raises(AssertionError, match=r"has not ended after \d+ decisions"):
        check_policy(Endless())


def test_a_thing_that_decides_nothing_is_no_policy() -> None:
    with pytest.raises(AssertionError, match="is not a policy"):
        check_policy("solo")  # type: ignore[arg-type]  # what a caller without types may do


BOX = ("policy", "scenario")


def checked(group: str, name: str) -> None:
    built = build(config(*overrides_for(group, name)))
    assert check_policy(built.policy)
    assert check_scenario(built.scenario, built.policy)


@pytest.mark.parametrize(("group", "name"), [one for one in OPTIONS if one[0] in BOX])
def test_every_policy_and_scenario_in_the_box_keeps_its_contract(group: str, name: str) -> None:
    checked(group, name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "experiment"])
def test_every_experiment_keeps_the_contracts(name: str) -> None:
    checked("experiment", name)


def test_the_baselines_of_a_collaboration_are_checked_with_it() -> None:
    built = build(config(*overrides_for("scenario", "collaboration")))
    arms = {case.design.arm for case in check_scenario(built.scenario, built.policy)}
    assert arms >= {"together", "main alone", "partner alone", "random_switch", "self_handoff"}


class Plain(Collaboration):
    """A scenario that breaks one rule of the contract."""

    broken: str = ""

    def most(self, questions: int, policy: Policy) -> int:
        return 1 if self.broken == "most" else super().most(questions, policy)

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case]:
        questions = bank.questions if self.broken == "order" else ranked(bank.questions)
        for n, question in enumerate([] if self.broken == "nothing" else questions):
            case = Case(question.id, question, policy, labels=question.labels)
            yield self._spoiled(case, n)
        if self.broken == "refuses":
            raise ConfigError("no case fits")

    def _spoiled(self, case: Case, n: int) -> Case:
        match self.broken:
            case "ids":
                return replace(case, id="one")
            case "label":
                return replace(case, labels={})
            case "question":
                return replace(case, question=replace(case.question, answer="0"))
            case "luck":
                return replace(case, labels={**case.labels, "luck": random.random()})
            case "recording":
                return replace(case, opening={"main": Recording("another", "So.", 1)})
            case "policy":
                return replace(case, policy=Undeclared())
        return case


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("most", "makes 12 cases, but `most` says at most 1"),
        ("order", "with the questions in another order it makes other cases"),
        ("nothing", "makes no case from 12 questions"),
        ("refuses", "it cannot make cases: no case fits"),
        ("ids", "two of its cases have the same id"),
        ("label", "lacks the label 'level'"),
        ("question", "has a question that is not in the bank"),
        ("luck", "the second time it makes another case"),
        ("recording", r"plays recordings on \{'another'\}"),
        ("policy", "cannot be played: seat 'helper' is not in the team"),
    ],
)
def test_what_breaks_a_scenarios_contract_is_named(broken: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_scenario(Plain(broken=broken), Good())


def test_a_thing_without_a_scenarios_methods_is_none() -> None:
    with pytest.raises(AssertionError, match="is not a scenario"):
        check_scenario("solo", Good())  # type: ignore[arg-type]  # what a caller without types may do


def examined(server: ScriptedServer, **more: Any) -> Profile:  # any: whatever is checked
    return check_endpoint(f"{server.url}/beta", "scripted", dialect="deepseek_prefix", **more)


async def test_an_endpoint_that_continues_thoughts_keeps_its_contract() -> None:
    async with ScriptedServer(attentive, api="deepseek") as server:
        profile = examined(server, must=["reply", "growth"])
    assert "writer" in profile.seats
    with pytest.raises(AssertionError, match="stop is limited: tried"):
        check_profile(profile, ["stop"])
    with pytest.raises(AssertionError, match=r"unknown probes: \['speed'\]"):
        check_profile(profile, ["speed"])


async def test_an_endpoint_that_drops_what_it_is_to_continue_is_named() -> None:
    async with ScriptedServer(attentive, api="deepseek", traits=["thinking_dropped"]) as server:
        with pytest.raises(AssertionError, match=r"growth is broken: .*dropped"):
            examined(server)


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with pytest.raises(AssertionError, match="cannot be examined"):
        check_endpoint("http://127.0.0.1:9/v1", "nobody", dialect="deepseek_prefix")


@pytest.mark.long
def test_the_reasoners_in_the_box_keep_an_endpoints_contract(pocket: Served) -> None:
    profile = check_endpoint(pocket.url, "plain", checkpoint=find("plain"), must=["seed", "ids"])
    assert profile.broken == ()
