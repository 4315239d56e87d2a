"""The protocols of the field: what each one does at its turning points."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from pydantic import ValidationError

from collab import (
    AfterUnits,
    Choose,
    Close,
    Decision,
    Fork,
    Insert,
    Paragraph,
    Rewind,
    Tokens,
    Unit,
    View,
    Write,
)
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.trajectory import Chose, Ended, Forked, PlayedBranch, Wrote
from collab.policies.aggregate import Aggregate
from collab.policies.budget_force import BudgetForce
from collab.policies.fork_join import ForkJoin
from collab.policies.human import AtTheTable
from collab.policies.intervene import Intervene
from collab.policies.plan_then_solve import PlanThenSolve
from collab.policies.propose_and_choose import ProposeAndChoose
from collab.policies.speculate import Likely, Speculate
from collab.policies.speculative_thinking import SpeculativeThinking
from collab.testing import check_policy

Look = Callable[..., View]


@dataclass
class Saying:
    """Says one thing, as sure as can be."""

    reply: str
    begun: list[tuple[Decision, ...]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def ask(self, seat: str, inquiry: Inquiry) -> SideAnswer:
        self.asked.append(inquiry.text)
        return SideAnswer(self.reply, {self.reply: 1.0} if self.reply in inquiry.options else {})

    async def score(self, seat: str, text: str) -> Likelihood:
        raise AssertionError

    def prefetch(self, path: tuple[Decision, ...]) -> None:
        self.begun.append(path)


DRAFT = ("drafter", "So 7.\n\n")


@pytest.mark.parametrize(("score", "stands"), [("6", False), ("7", True), ("what?", True)])
async def test_a_draft_stands_from_the_threshold_on(look: Look, score: str, stands: bool) -> None:
    aside = Saying(score)
    decision = await Speculate(threshold=7).decide(look(DRAFT, memo="drafted", aside=aside))
    assert isinstance(decision, Write if stands else Rewind)
    ((begun,),) = aside.begun
    assert isinstance(begun, Write)
    assert begun.seat == "drafter"


@dataclass
class Finding(Saying):
    """Finds any text as likely as it is told to."""

    logprob: float = 0.0

    async def score(self, seat: str, text: str) -> Likelihood:
        assert (seat, text) == ("main", DRAFT[1])
        return Likelihood(self.logprob, 4)


@pytest.mark.parametrize(("logprob", "stands"), [(-1.0, True), (-4.0, False)])
async def test_a_draft_made_apart_stands_where_main_finds_its_tokens_likely(
    look: Look, logprob: float, stands: bool
) -> None:
    policy = Speculate(likely=Likely(chance=0.5))
    fork = await policy.decide(look(("main", "Three and four.\n\n")))
    assert isinstance(fork, Fork)
    drafted = Forked((PlayedBranch((Wrote(Unit(*DRAFT, "generated")),), "stopped"),))
    view = look(memo=fork.memo, aside=Finding("", logprob=logprob))
    decision = await policy.decide(replace(view, trajectory=view.trajectory.add(drafted)))
    assert isinstance(decision, Choose if stands else Write)
    assert decision.memo is None


async def test_a_drafter_that_closes_the_thinking_in_a_branch_closes_it(look: Look) -> None:
    closed = Forked((PlayedBranch((Ended("drafter"),), "stopped"),))
    view = look(("main", "So 7.\n\n"), memo="apart")
    policy = Speculate(likely=Likely())
    decision = await policy.decide(replace(view, trajectory=view.trajectory.add(closed)))
    assert isinstance(decision, Choose)


async def test_main_writes_a_rejected_step_and_the_drafter_the_next_one(look: Look) -> None:
    anew = await Speculate().decide(look(memo="rejected"))
    assert anew == Write("main", Paragraph(), why="main writes this step")
    then = await Speculate().decide(look(("main", "So 7.\n\n")))
    assert isinstance(then, Write)
    assert (then.seat, then.memo) == ("drafter", "drafted")


async def test_a_closing_draft_is_judged_before_main_answers(look: Look) -> None:
    def closing(score: str) -> View:
        view: View = look(DRAFT, closed=True, memo="drafted", aside=Saying(score))
        return view

    assert isinstance(await Speculate().decide(closing("9")), Close)
    assert isinstance(await Speculate().decide(closing("0")), Rewind)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [("Yes, 7.", 20), ("Wait, no.", 20), ("Wait, let me check.", 125), ("Add 3.", None)],
)
async def test_the_helper_takes_over_at_keywords(look: Look, said: str, tokens: int | None) -> None:
    decision = await SpeculativeThinking().decide(look(("main", said)))
    assert isinstance(decision, Write)
    assert (decision.seat, decision.until) == (
        ("helper", Tokens(count=tokens)) if tokens else ("main", Paragraph())
    )


async def test_after_many_doubts_a_sentence_stands_and_the_helper_goes_on_from_it(
    look: Look,
) -> None:
    policy, doubts = SpeculativeThinking(most_doubts=2), [("main", "Wait."), ("helper", "x")] * 2
    put = await policy.decide(look(*doubts[:3]))
    assert isinstance(put, Insert)
    then = await policy.decide(look(*doubts[:3], Unit("helper", put.text, "inserted")))
    assert isinstance(then, Write)
    assert (then.seat, then.until) == ("helper", Tokens(count=200))
    after = [*doubts[:3], Unit("helper", put.text, "inserted"), ("helper", "x"), ("main", "Wait.")]
    assert isinstance(await policy.decide(look(*after)), Write)


async def test_a_close_is_put_off_so_many_times(look: Look) -> None:
    policy, thought = BudgetForce(waits=1), ("main", "So 7.")
    wait = await policy.decide(look(thought, closed=True))
    assert isinstance(wait, Insert)
    assert wait.text == "\nWait"
    waited = (thought, Unit("main", "\nWait", "inserted"), thought)
    assert isinstance(await policy.decide(look(*waited)), Write)
    assert isinstance(await policy.decide(look(*waited, closed=True)), Close)


async def test_enough_tokens_make_a_close_good_and_too_many_make_one(look: Look) -> None:
    thought = Unit("main", "So 7.", "generated", tokens=50)
    assert isinstance(await BudgetForce(least=50).decide(look(thought, closed=True)), Close)
    assert isinstance(await BudgetForce(least=51).decide(look(thought, closed=True)), Insert)
    assert isinstance(await BudgetForce(most=50).decide(look(thought)), Close)
    on = await BudgetForce(most=60).decide(look(thought))
    assert isinstance(on, Write)
    assert on.until == Tokens(count=10)


def test_a_phrase_that_ends_in_a_space_is_refused() -> None:
    with pytest.raises(ValidationError, match="ends in a space"):
        BudgetForce(phrase="Wait ")


@pytest.mark.parametrize(("at", "places"), [("begin", {0}), ("when", {2}), ("end", None)])
def test_a_sentence_stands_where_it_should(at: str, places: set[int] | None) -> None:
    policy = Intervene.model_validate({"at": at, "when": AfterUnits(count=2), "times": 1})
    for episode in check_policy(policy):
        units = episode.trajectory.units
        found = {n for n, unit in enumerate(units) if unit.kind == "inserted"}
        assert len(found) <= 1
        assert places is None or found <= places
        assert not (at == "begin" and not found)


async def test_a_plan_stands_before_the_thinking_and_again_after_each_round(look: Look) -> None:
    policy = PlanThenSolve(rounds=2, units=2)
    first = await policy.decide(look(aside=Saying(" Add.\n")))
    assert isinstance(first, Insert)
    assert (first.seat, first.text) == ("planner", "Add.\n\n")
    planned = ("planner", "Add.\n\n")
    assert isinstance(await policy.decide(look(planned, ("main", "a"))), Write)
    aside = Saying("Go on.")
    again = await policy.decide(look(planned, ("main", "a"), ("main", "b."), aside=aside))
    assert isinstance(again, Insert)
    assert again.text == "\n\nGo on.\n\n"
    assert aside.asked == [policy.next]


@pytest.mark.parametrize(
    ("said", "decided"), [("pass", Write), ("write", Write), ("rewind", Rewind), ("close", Close)]
)
async def test_what_the_human_says_is_done(look: Look, said: str, decided: type) -> None:
    decision = await AtTheTable().decide(look(("main", "So 8."), aside=Saying(said)))
    assert isinstance(decision, decided)
    assert not isinstance(decision, Write) or decision.seat == ("main", "human")[said == "write"]


async def test_a_unit_that_the_human_rewinds_is_written_anew_before_the_next_question(
    look: Look,
) -> None:
    view = look(("main", "Add."), memo="asked")
    assert await AtTheTable().decide(view) == Write("main", Paragraph(), why="main thinks")


def test_each_candidate_is_one_unit_and_the_chosen_one_is_on_the_trajectory() -> None:
    chosen = 0
    for episode in check_policy(ProposeAndChoose(samples=2)):
        forks = [event for event in episode.trajectory.log if isinstance(event, Forked)]
        assert {len(fork.branches) for fork in forks} == {4}
        chosen += sum(isinstance(event, Chose) for event in episode.trajectory.log)
        assert {unit.author for unit in episode.trajectory.units} <= {"main", "partner"}
    assert chosen


async def test_most_votes_count_and_the_first_candidate_where_nobody_votes(look: Look) -> None:
    policy = ProposeAndChoose(voters=("a", "b", "c"))
    fork = await policy.decide(look())
    assert isinstance(fork, Fork)
    assert len(fork.branches) == 2
    first, *_ = check_policy(policy)
    choices = [one for one in first.trajectory.log if isinstance(one, Chose)]
    assert choices
    assert all("of 3 votes" in one.why for one in choices)


def test_workers_think_apart_once_and_main_goes_on_from_what_they_found() -> None:
    for episode in check_policy(ForkJoin(begins=1, units=2)):
        forks = [event for event in episode.trajectory.log if isinstance(event, Forked)]
        joined = [unit for unit in episode.trajectory.units if unit.kind == "inserted"]
        assert len(forks) == len(joined) <= 1
        assert all(unit.text.startswith("\n\nBranch 1: ") for unit in joined)


def test_proposals_come_from_the_bare_question_and_stand_before_mains_thinking() -> None:
    for episode in check_policy(Aggregate(samples=2)):
        (fork,) = (event for event in episode.trajectory.log if isinstance(event, Forked))
        assert [branch.empty for branch in fork.branches] == [True] * 4
        first = episode.trajectory.units[0]
        assert (first.kind, first.text.count("Proposal ")) == ("inserted", 4)
