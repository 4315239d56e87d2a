import asyncio
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab.core.boundary import cut_at_share
from collab.core.policy import Policy
from collab.core.trajectory import Message, Question, Recording
from collab.episode.engine import Case
from collab.errors import ConfigError
from collab.policies.distractor import Distractor
from collab.policies.guide import Guide
from collab.scenarios.base import Bank, Plan, Scenario
from collab.scenarios.guidability import Guidability

POLICY = Guide()


def question(name: str) -> Question:
    return Question(name, (Message("user", f"{name}?"),), name, labels={"level": "hard"})


def thought(
    of: str, draw: int, correct: bool, model: str = "strong@1", sentences: int = 10
) -> Recording:
    """A trace of three-word sentences, one token a word."""
    text = "".join(f"step {n} k{draw}.\n" for n in range(sentences))
    ends = tuple(word.end() for word in re.finditer(r"\S+\s*", text))
    return Recording(
        question=of,
        text=text,
        tokens=len(ends),
        ids=tuple(range(len(ends))),
        tokenizer="words",
        ends=ends,
        model=model,
        generation=f"{model}-{of}-{draw}",
        draw=draw,
        correct=correct,
    )


def bank(**outcomes: tuple[str, str]) -> Bank:
    """Make a bank; for each question, what main's and the guide's draws came to (+ or -)."""
    solos = {
        seat: {
            name: tuple(
                thought(name, draw, mark == "+", f"{seat}@1") for draw, mark in enumerate(marks[at])
            )
            for name, marks in outcomes.items()
        }
        for at, seat in enumerate(("main", "guide"))
    }
    return Bank([question(name) for name in outcomes], solos)


@st.composite
def banks(draw: st.DrawFn) -> Bank:
    marks = st.text("+-", max_size=5)
    names = [f"q{n}" for n in range(draw(st.integers(1, 5)))]
    return bank(**{name: (draw(marks), draw(marks)) for name in names})


def planned(scenario: Scenario, bank: Bank, policy: Policy) -> Plan:
    return asyncio.run(Plan.of(scenario.cases(bank, policy)))


def arm(plan: Plan, name: str) -> list[Case]:
    return [case for case in plan.cases if case.design.arm == name]


def test_only_questions_that_main_seldom_solves_are_played() -> None:
    made = bank(never=("---", "+"), once=("-+-", "+"), twice=("++-", "+"))
    plan = planned(Guidability(samples=3), made, POLICY)
    assert {case.question.id for case in plan.cases} == {"never", "once"}
    assert "2 of 3 questions are solved at most 1 of 3 times by main" in plan.notes
    strict = planned(Guidability(samples=3, solved_at_most=0), made, POLICY)
    assert {case.question.id for case in strict.cases} == {"never"}


@given(banks(), st.integers(0, 3))
def test_no_question_solved_more_often_than_asked_is_played(bank: Bank, most: int) -> None:
    for case in planned(Guidability(solved_at_most=most), bank, POLICY).cases:
        assert bank.solved("main", case.question) <= most
        assert case.design.solved == bank.solved("main", case.question)


@given(banks(), st.integers(1, 3))
def test_only_correct_traces_of_the_same_question_guide(bank: Bank, traces: int) -> None:
    for case in arm(planned(Guidability(correct_traces_per_guide=traces), bank, POLICY), "steer"):
        (guide,) = case.opening.values()
        assert guide.correct
        assert guide.question == case.question.id


@given(banks(), st.integers(1, 3))
def test_each_question_has_as_many_unguided_draws_as_guided_episodes(
    bank: Bank, traces: int
) -> None:
    plan = planned(Guidability(correct_traces_per_guide=traces), bank, POLICY)
    guided = Counter(case.question.id for case in arm(plan, "steer"))
    assert guided == Counter(case.question.id for case in arm(plan, "none"))
    assert Counter(c.design.pair for c in arm(plan, "steer")) == Counter(
        c.design.pair for c in arm(plan, "none")
    )


@given(banks())
def test_an_unguided_case_has_no_opening_and_no_draw_of_the_bank(bank: Bank) -> None:
    for case in arm(planned(Guidability(), bank, POLICY), "none"):
        assert not case.opening
        assert case.draw is None


@given(banks(), st.integers(1, 3))
def test_ids_are_unique_and_no_more_than_was_said(bank: Bank, traces: int) -> None:
    scenario = Guidability(correct_traces_per_guide=traces)
    ids = [case.id for case in planned(scenario, bank, POLICY).cases]
    assert len(set(ids)) == len(ids) <= scenario.most(len(bank.questions), POLICY)


@given(banks(), st.randoms())
def test_the_same_cases_are_made_whatever_the_order_of_the_questions(
    bank: Bank, rng: object
) -> None:
    shuffled = list(bank.questions)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    plan = planned(Guidability(), bank, POLICY)
    again = planned(Guidability(), Bank(shuffled, bank.solos), POLICY)
    assert {case.id: case for case in again.cases} == {case.id: case for case in plan.cases}


def test_ids_name_the_trace_and_the_share_or_the_number_of_the_control() -> None:
    plan = planned(
        Guidability(lengths=(0.2, 0.6), controls=("none",)), bank(q=("--", "-+")), POLICY
    )
    assert [case.id for case in plan.cases] == [
        "q/guide@1/1/0.2",
        "q/unguided/0",
        "q/guide@1/1/0.6",
        "q/unguided/1",
    ]


def test_the_guides_share_is_the_policys_length_and_the_realised_one_is_noted() -> None:
    plan = planned(Guidability(lengths=(0.25,)), bank(q=("--", "+")), POLICY)
    (case,) = arm(plan, "steer")
    cut = cut_at_share(case.opening["guide"], 0.25)
    assert case.policy == Guide(length=0.25)
    assert case.design.realised == round(cut.share, 4) != 0.25
    assert case.design.steer_tokens == cut.tokens


def test_every_guide_opens_every_hard_question() -> None:
    one = bank(q=("--", "+"))
    other: dict[str, tuple[Recording, ...]] = {"q": (thought("q", 0, True, "other@1"),)}
    scenario = Guidability(guides=("guide", "second"), lengths=(0.2,))
    plan = planned(scenario, Bank(one.questions, {**one.solos, "second": other}), POLICY)
    assert scenario.solos() == {"main": 8, "guide": 8, "second": 8}
    assert [list(case.opening) for case in arm(plan, "steer")] == [["guide"], ["second"]]
    assert [c.policy.guide for c in arm(plan, "steer") if isinstance(c.policy, Guide)] == [
        "guide",
        "second",
    ]
    assert [case.design.guide for case in arm(plan, "steer")] == ["guide", "second"]


def test_a_question_that_no_guide_solves_is_left_out_and_counted() -> None:
    plan = planned(Guidability(), bank(q=("--", "--")), POLICY)
    assert list(plan.cases) == []
    assert "1 of them left out: no guide has a correct trajectory" in plan.notes


def test_controls_can_be_left_out() -> None:
    plan = planned(Guidability(controls=()), bank(q=("--", "+")), POLICY)
    assert {case.design.arm for case in plan.cases} == {"steer"}


def test_a_guide_whose_given_part_holds_the_answer_is_labelled() -> None:
    plan = planned(Guidability(lengths=(0.2, 0.8)), bank(**{"6": ("--", "+")}), POLICY)
    held = [case.design.steer_holds_answer for case in arm(plan, "steer")]
    assert held == [False, True]


def test_a_policy_that_guides_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="guide, which policy Distractor lacks"):
        planned(Guidability(), bank(q=("--", "+")), Distractor())


def test_the_answer_is_forced_behind_the_very_same_steer() -> None:
    plan = planned(Guidability(lengths=(0.2, 0.6)), bank(q=("--", "+")), POLICY)
    for steered, forced in zip(arm(plan, "steer"), arm(plan, "forced"), strict=True):
        assert forced.opening == steered.opening
        assert forced.design.pair == steered.design.pair
        assert forced.policy == Guide(length=steered.design.length, force=True)
        assert forced.id == f"{steered.id}/forced"


def test_questions_that_are_always_solved_can_be_guided_too() -> None:
    made = bank(never=("---", "+"), twice=("++-", "+"), always=("+++", "+"))
    scenario = Guidability(samples=3, solved_at_least=3, solved_at_most=3)
    plan = planned(scenario, made, POLICY)
    assert {case.question.id for case in plan.cases} == {"always"}
    assert "1 of 3 questions are solved 3 to 3 of 3 times by main" in plan.notes


def test_wrong_traces_guide_where_they_are_asked_for() -> None:
    plan = planned(Guidability(traces="wrong"), bank(q=("--", "+-")), POLICY)
    assert {case.opening["guide"].draw for case in arm(plan, "steer")} == {1}


def test_several_traces_of_a_guide_are_counted_as_table_13_does() -> None:
    made = bank(a=("--", "++"), b=("--", "+-"), c=("--", "--"))
    plan = planned(Guidability(correct_traces_per_guide=2), made, POLICY)
    assert "guide: 2 problems, 3 trajectories" in plan.notes


def two_guides() -> Bank:
    """Two hard questions; the second guide has a correct trace of one of them."""
    one = bank(a=("--", "+-"), b=("--", "++"))
    second: dict[str, tuple[Recording, ...]] = {
        "a": (thought("a", 0, True, "other@1"),),
        "b": (thought("b", 0, False, "other@1"),),
    }
    return Bank(one.questions, {**one.solos, "second": second})


def test_questions_that_all_guides_share_are_told_apart_and_own_teacher_from_others() -> None:
    scenario = Guidability(guides=("guide", "second"), teacher="second", samples=2)
    plan = planned(scenario, two_guides(), POLICY)
    shared = {case.question.id: case.design.by_all_guides for case in plan.cases}
    assert shared == {"a": True, "b": False}
    teachers = {case.design.guide: case.design.teacher for case in plan.cases}
    assert teachers == {"guide": "other", "second": "own"}
    assert "1 problems have a correct trajectory of every guide" in plan.notes


def test_a_guide_that_is_no_stronger_alone_is_warned_of() -> None:
    def warned(of: Bank) -> list[str]:
        scenario = Guidability(guides=("guide", "second"), samples=2)
        return [note for note in planned(scenario, of, POLICY).notes if "warning" in note]

    assert warned(two_guides()) == []
    weak = bank(a=("-+", "+-"), b=("--", "--"))
    said = warned(Bank(weak.questions, {**weak.solos, "second": two_guides().solos["second"]}))
    assert said == [
        "warning: guide is no stronger than main: alone, guide solves 25% of its draws, main 25%",
        "warning: second is no stronger than main: alone, second solves 25% of its draws, main 25%",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"solved_at_least": 2}, "solved_at_least 2 is more than solved_at_most 1"),
        ({"teacher": "nobody"}, r"teacher 'nobody' is not in guides \(guide\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Guidability.model_validate(settings)


def test_chunks_are_cut_where_the_policy_is_told_to() -> None:
    plan = planned(Guidability(cut="chunk", lengths=(0.5,)), bank(q=("--", "+")), POLICY)
    assert arm(plan, "steer")[0].policy == Guide(length=0.5, cut="chunk")
