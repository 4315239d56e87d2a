import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from collab.core.boundary import Answer
from collab.core.condition import Unsure
from collab.core.cost import Account, Rates
from collab.core.policy import Policy
from collab.core.sampling import Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.scripted import TEMPLATE, ScriptedServer, WordTokenizer
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case
from collab.episode.team import Team
from collab.errors import ConfigError
from collab.grading.maths import MathsGrader
from collab.policies.alternate import Alternate
from collab.policies.answer_by import AnswerBy
from collab.policies.fixed_ratio import FixedRatio
from collab.policies.offload import Offload
from collab.policies.random_switch import RandomSwitch
from collab.policies.self_handoff import SelfHandoff
from collab.policies.solo import Solo
from collab.policies.speculate import Speculate
from collab.reasoners.model import Model
from collab.report.collaboration import arms_of
from collab.runs.run import Setup, SilentStages, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Bank, Note, Plan
from collab.scenarios.collaboration import Collaboration
from collab.store.draw_keys import BANK
from collab.store.store import Store
from collab.templates.template import Template

ASKED = [Question(name, (Message("user", name),), "1", labels={"level": "easy"}) for name in "ab"]
WRITES = frozenset({"write", "answer", "advise"})
PAIR = {"main": WRITES, "partner": WRITES}
FULL = Collaboration(
    alone=Solo(),
    votes=3,
    against={"random_switch": RandomSwitch(share=0.3), "self_handoff": SelfHandoff()},
)


def planned(
    scenario: Collaboration, policy: Policy, models: dict[str, frozenset[str]] | None = None
) -> Plan:
    bank = Bank(ASKED, models=models or {})
    return asyncio.run(Plan.of(scenario.cases(bank, policy)))


def arm(plan: Plan, name: str) -> list[Case]:
    return [case for case in plan.cases if case.design.arm == name]


def test_every_question_is_played_as_often_as_asked() -> None:
    plan = planned(Collaboration(samples=2), Alternate())
    assert sorted(case.id for case in plan.cases) == ["a/0", "a/1", "b/0", "b/1"]
    assert {case.policy for case in plan.cases} == {Alternate()}
    assert plan.notes == []


def test_it_needs_no_bank_and_sets_nothing_of_the_policy() -> None:
    assert FULL.solos() == {}
    assert FULL.factors() == {}


def test_each_seat_alone_and_each_baseline_stand_beside_the_policy() -> None:
    plan = planned(FULL, Alternate(), PAIR)
    assert Counter(case.design.arm for case in plan.cases) == {
        "together": 2,
        "main alone": 6,
        "partner alone": 6,
        "random_switch": 2,
        "self_handoff": 2,
    }
    assert {case.policy for case in arm(plan, "partner alone")} == {Solo(main="partner")}
    assert len({case.id for case in plan.cases}) == len(plan.cases) == FULL.most(2, Alternate())


def test_baselines_take_the_seats_that_the_policy_has() -> None:
    plan = planned(FULL, Speculate(), {"main": WRITES, "drafter": WRITES})
    switch = arm(plan, "random_switch")[0]
    assert switch.policy == RandomSwitch(partner="drafter", share=0.3)
    assert {case.design.helper for case in plan.cases} == {"drafter"}


def test_the_helper_may_be_chosen() -> None:
    three = Alternate(seats=("main", "partner", "third"))
    chosen = FULL.model_copy(update={"helper": "third"})
    plan = planned(chosen, three, {**PAIR, "third": WRITES})
    assert len(plan.cases) == FULL.most(2, three)
    assert arm(plan, "random_switch")[0].policy == RandomSwitch(partner="third", share=0.3)
    with pytest.raises(
        ConfigError, match="helper='thrid' is not a seat with a model that can write"
    ):
        planned(chosen.model_copy(update={"helper": "thrid"}), three, PAIR)


def test_a_baseline_that_the_team_cannot_play_is_left_out_with_a_note() -> None:
    scenario = FULL.model_copy(
        update={"against": {**FULL.against, "ratio": FixedRatio(), "other": Alternate()}}
    )
    plan = planned(scenario, AnswerBy(), {"main": WRITES, "partner": frozenset({"answer"})})
    assert {case.design.arm for case in plan.cases} == {"together", "main alone", "self_handoff"}
    assert plan.notes == [
        f"{name} left out: seat 'partner' has no model that can write"
        for name in ("random_switch", "ratio", "other")
    ]
    assert all(isinstance(note, Note) for note in plan.notes)


def test_a_baseline_that_needs_what_a_seat_lacks_is_left_out() -> None:
    unsure = Offload(helper="partner", when=Unsure())
    scenario = FULL.model_copy(update={"against": {"unsure": unsure}})
    plan = planned(scenario, Alternate(), PAIR)
    assert plan.notes == ["unsure left out: not all of its seats support logprobs"]
    able = dict.fromkeys(PAIR, WRITES | {"logprobs"})
    assert len(arm(planned(scenario, Alternate(), able), "unsure")) == 2


def test_the_names_main_and_partner_stand_for_its_seats_in_any_baseline() -> None:
    scenario = FULL.model_copy(
        update={"against": {"rewrite": Speculate(main="partner", drafter="main")}}
    )
    policy = Speculate(main="drafter", drafter="main")
    plan = planned(scenario, policy, {"main": WRITES, "drafter": WRITES})
    assert arm(plan, "rewrite")[0].policy == Speculate(main="drafter", drafter="main")


def test_a_system_without_known_claims_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no claims of system 'SpecReson' are known \(known"):
        Collaboration(published="SpecReson")


async def test_no_two_arms_share_a_draw_and_none_is_of_a_bank(
    store: Store, letters: Tokenizer, spoken: Callable[[Tokenizer], WordTokenizer], tmp_path: Path
) -> None:
    said = [f"We add. So it is {n}.</think>\n\n\\boxed{{{n}}}" for n in (1, 1, 2)]
    scenario = FULL.model_copy(update={"samples": 2})
    async with (
        ScriptedServer({"": said}, tokenizer=spoken(letters)) as server,
        Endpoint(server.url, "scripted", letters) as endpoint,
        MathsGrader() as grader,
    ):
        model = Model(
            identity="scripted@1",
            endpoint=endpoint,
            dialect=IdsDialect(Frame(Template(TEMPLATE)), letters),
            tokenizer=letters,
            store=store,
            sampling=Sampling(),
            account=Account(Rates(parameters=1.5)),
        )
        setup = Setup(
            scenario=scenario,
            policy=Alternate(),
            questions=ASKED,
            team=Team({"main": model, "partner": model}),
            grader=grader,
            until=Answer(),
            budget=400,
        )
        with RunFolder.enter(tmp_path / "run", {}, {}) as folder:
            result = await run(setup, folder, SilentStages())
            draws = {
                episode.case: {key for costs in episode.costs.values() for key in costs}
                for episode, _ in folder.episodes()
            }
            drawn = [int(key.rpartition("-")[2]) for keys in draws.values() for key in keys]
    assert len(result.scores) == scenario.most(2, Alternate())
    assert sum(map(len, draws.values())) == len(set().union(*draws.values()))
    assert min(drawn) >= BANK
    together = arms_of(result.scores)[0]
    assert set(together.seats) == {"main", "partner"}
    assert all(part.cost.flops > 0 for part in together.seats.values())
