import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab import Length, Share
from collab.core.boundary import cut_at_share
from collab.core.policy import Policy
from collab.core.trajectory import Message, Question, Recording
from collab.episode.engine import Case
from collab.episode.playback import play
from collab.errors import ConfigError
from collab.policies.distractor import Distractor
from collab.policies.solo import Solo
from collab.scenarios.base import Bank, Plan, Scenario
from collab.scenarios.recoverability import Recoverability
from collab.scenarios.selection import distinct_cuts

POLICY = Distractor()


def question(name: str, answer: str | None = None) -> Question:
    return Question(name, (Message("user", f"{name}?"),), answer or name, labels={"level": "easy"})


def thought(
    of: str, draw: int, sentences: int = 10, said: str | None = None, correct: bool = True
) -> Recording:
    """A trace of three-word sentences, one token a word."""
    text = "".join(f"{of} step {n}.{draw}k.\n" for n in range(sentences))
    ends = tuple(word.end() for word in re.finditer(r"\S+\s*", text))
    return Recording(
        question=of,
        text=text,
        tokens=len(ends),
        ids=tuple(range(len(ends))),
        tokenizer="words",
        ends=ends,
        model="model@1",
        generation=f"{of}-{draw}",
        draw=draw,
        answer=said or of,
        correct=correct,
        extracted=said or of,
    )


def bank(*solos: tuple[Question, Sequence[Recording]]) -> Bank:
    by = {asked.id: tuple(of) for asked, of in solos}
    return Bank([asked for asked, _ in solos], {"main": by})


def four() -> Bank:
    """Four questions, two correct thoughts each."""
    return bank(*((question(name), [thought(name, 0), thought(name, 1)]) for name in "5678"))


@st.composite
def banks(draw: st.DrawFn) -> Bank:
    answers = draw(st.lists(st.sampled_from("123"), min_size=2, max_size=7))
    solos = []
    for nth, answer in enumerate(answers):
        outcomes = draw(st.lists(st.sampled_from(["right", "wrong", "open"]), max_size=4))
        of = [
            thought(
                f"q{nth}",
                number,
                draw(st.integers(1, 6)),
                answer if outcome == "right" else draw(st.sampled_from("1239")),
                outcome == "right",
            )
            for number, outcome in enumerate(outcomes)
        ]
        solos.append((question(f"q{nth}", answer), of))
    return bank(*solos)


def planned(scenario: Scenario, bank: Bank, policy: Policy) -> Plan:
    return asyncio.run(Plan.of(scenario.cases(bank, policy)))


def arm(plan: Plan, name: str) -> list[Case]:
    return [case for case in plan.cases if case.design.arm == name]


def original(case: Case) -> tuple[str, int | None]:
    return case.question.id, case.opening["main"].draw


def rival(case: Case) -> tuple[str, int | None]:
    return case.opening["distractor"].question, case.opening["distractor"].draw


def test_every_original_is_crossed_with_points_and_arms() -> None:
    plan = planned(Recoverability(originals=3, points=(0.0, 0.4)), four(), POLICY)
    assert Counter((c.design.arm, c.design.at) for c in plan.cases) == {
        (name, at): 3 for name in ("steer", "none", "placebo") for at in (0.0, 0.4)
    }


def test_the_policy_that_a_case_carries_has_its_point_and_length() -> None:
    plan = planned(Recoverability(points=(0.4,), length=0.3), four(), Distractor(phrase="Hm.\n"))
    for case in arm(plan, "steer") + arm(plan, "none"):
        assert case.policy == Distractor(at=0.4, length=0.3, phrase="Hm.\n")


def test_seats_of_other_names_reach_the_policy() -> None:
    solos = {"thinker": four().solos["main"]}
    scenario = Recoverability(main="thinker", distractor="noise", points=(0.0,))
    plan = planned(scenario, Bank(four().questions, solos), POLICY)
    assert all(case.opening.keys() <= {"thinker", "noise"} for case in plan.cases)
    assert {type(case.policy) for case in plan.cases} == {Distractor}
    for case in plan.cases:
        assert isinstance(case.policy, Distractor)
        assert (case.policy.main, case.policy.distractor) == ("thinker", "noise")


def test_a_policy_without_an_insertion_point_is_refused() -> None:
    with pytest.raises(ConfigError, match="which policy Solo lacks"):
        planned(Recoverability(), four(), Solo())


@given(banks(), st.randoms())
def test_the_cases_do_not_depend_on_the_order_of_the_questions(bank: Bank, rng: object) -> None:
    scenario = Recoverability(originals=4, distractors=3)
    plan = planned(scenario, bank, POLICY)
    shuffled = list(bank.questions)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    again = planned(scenario, Bank(shuffled, bank.solos), POLICY)
    assert again == plan
    assert planned(scenario, bank, POLICY) == plan


@given(banks())
def test_ids_are_unique(bank: Bank) -> None:
    ids = [case.id for case in planned(Recoverability(), bank, POLICY).cases]
    assert len(set(ids)) == len(ids)


@given(banks())
def test_there_are_never_more_cases_than_was_said_at_most(bank: Bank) -> None:
    scenario = Recoverability(samples=4, originals=5)
    assert len(planned(scenario, bank, POLICY).cases) <= scenario.most(len(bank.questions), POLICY)


def test_an_id_names_question_draw_point_and_distractor() -> None:
    case = arm(planned(Recoverability(points=(0.4,)), four(), POLICY), "steer")[0]
    asked, draw = original(case)
    other, its_draw = rival(case)
    assert case.id == f"{asked}/{draw}/0.4/{other}/{its_draw}"


@given(banks())
def test_only_correct_thoughts_of_the_question_are_disturbed(bank: Bank) -> None:
    for case in planned(Recoverability(), bank, POLICY).cases:
        assert case.opening["main"].correct
        assert case.opening["main"].question == case.question.id


@given(banks())
def test_a_distractor_never_shares_the_question_or_the_answer(bank: Bank) -> None:
    answers = {asked.id: asked.answer for asked in bank.questions}
    for case in arm(planned(Recoverability(), bank, POLICY), "steer"):
        steer = case.opening["distractor"]
        assert steer.question != case.question.id
        assert answers[steer.question] != case.question.answer
        assert steer.extracted != case.question.answer
        assert case.rival == steer.extracted


@given(banks())
def test_an_original_has_the_same_distractor_at_all_points(bank: Bank) -> None:
    met: dict[object, object] = {}
    for case in arm(planned(Recoverability(), bank, POLICY), "steer"):
        assert met.setdefault(original(case), rival(case)) == rival(case)


@given(
    st.integers(2, 8),
    st.integers(1, 4),
    st.integers(2, 12),
)
def test_each_distractor_is_used_equally_often(
    questions: int, samples: int, distractors: int
) -> None:
    of = [
        (question(f"q{n}"), [thought(f"q{n}", draw) for draw in range(samples)])
        for n in range(questions)
    ]
    plan = planned(Recoverability(points=(0.0,), distractors=distractors), bank(*of), POLICY)
    pool = min(distractors, questions * samples)
    used = Counter(rival(case) for case in arm(plan, "steer"))
    assert sum(used.values()) == questions * samples
    counts = [*used.values(), *[0] * (pool - len(used))]
    assume(pool % questions == 0)
    assert max(counts) - min(counts) <= 1


@given(banks(), st.integers(2, 8))
def test_no_swap_of_distractors_would_make_their_use_more_even(bank: Bank, size: int) -> None:
    answers = {asked.id: asked.answer for asked in bank.questions}
    plan = planned(Recoverability(points=(0.0,), distractors=size), bank, POLICY)
    steered = arm(plan, "steer")
    used = Counter(rival(case) for case in steered)
    steers = {rival(case): case.opening["distractor"] for case in steered}
    for case in steered:
        for other, count in used.items():
            steer = steers[other]
            fits = (
                steer.question != case.question.id
                and answers[steer.question] != case.question.answer
                and steer.extracted != case.question.answer
            )
            assert not fits or used[rival(case)] - count <= 1


def test_originals_come_from_as_many_questions_as_there_are() -> None:
    plan = planned(Recoverability(originals=4, points=(0.0,)), four(), POLICY)
    assert {case.question.id for case in plan.cases} == set("5678")


def test_points_that_cut_alike_are_one_case_and_counted() -> None:
    short = [(question(name), [thought(name, 0, sentences=2)]) for name in "56"]
    scenario = Recoverability(points=(0.0, 0.2, 0.4, 0.6, 0.8))
    plan = planned(scenario, bank(*short), POLICY)
    assert [c.design.at for c in arm(plan, "steer") if c.question.id == "5"] == [0.0, 0.4, 0.8]
    assert (
        "4 insertion points merged with a nearer one (they cut at the same sentence)" in plan.notes
    )


POINTS = (0.0, 0.2, 0.4, 0.6, 0.8)


@pytest.mark.parametrize("length", [0.2, 0.4])
@pytest.mark.parametrize("at", POINTS)
def test_a_point_and_a_steer_that_together_are_a_trajectory_at_most_are_allowed(
    at: float, length: float
) -> None:
    if (at, length) != (0.8, 0.4):
        assert Recoverability(points=(at,), length=length).points == (at,)


def test_a_point_and_a_steer_that_are_more_than_a_trajectory_are_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError) as refused:
        Recoverability(points=POINTS, length=0.4)
    assert "insertion point 0.8 + steer length 0.4 is more than 1" in str(refused.value)
    assert "set points up to 0.6" in str(refused.value)


def paragraphs(of: str, draw: int) -> Recording:
    """A trace of ten sentences whose third ends a paragraph."""
    one = thought(of, draw)
    third = 3 * len(one.text) // 10
    text = one.text[: third - 1] + "\n\n" + one.text[third:]
    return replace(one, text=text, ends=tuple(e + (e >= third) for e in one.ends or ()))


def opening_of(case: Case) -> str:
    assert isinstance(case.policy, Distractor)
    mine = case.opening["main"]
    return mine.text[: cut_at_share(mine, case.policy.at).chars]


def test_the_first_paragraph_of_the_original_is_kept_at_every_point() -> None:
    solos = [(question(name), [paragraphs(name, 0), paragraphs(name, 1)]) for name in "56"]
    scenario = Recoverability(points=(0.0, 0.6), keep_first_paragraph=True)
    for case in planned(scenario, bank(*solos), POLICY).cases:
        mine = case.opening["main"].text
        first = mine[: mine.index("\n\n") + 2]
        assert opening_of(case).startswith(first)
        assert (opening_of(case) == first) == (case.design.at == 0.0)
        assert case.design.realised == (0.3 if case.design.at == 0.0 else 0.6)


def test_a_point_that_a_kept_paragraph_does_not_move_is_the_same_case_with_it_and_without() -> None:
    solos = bank(*((question(name), [paragraphs(name, 0)]) for name in "56"))
    without, with_it = (
        planned(Recoverability(points=(0.0, 0.6), keep_first_paragraph=kept), solos, POLICY).cases
        for kept in (False, True)
    )
    assert {c.id for c in without} & {c.id for c in with_it} == {
        c.id for c in with_it if c.design.at == 0.6
    }
    assert [c for c in without if c.design.at == 0.6] == [c for c in with_it if c.design.at == 0.6]


def test_points_before_the_end_of_a_kept_paragraph_are_one() -> None:
    solos = bank(*((question(name), [paragraphs(name, 0)]) for name in "56"))
    scenario = Recoverability(points=(0.0, 0.2, 0.6), keep_first_paragraph=True)
    plan = planned(scenario, solos, POLICY)
    assert [c.design.at for c in arm(plan, "steer") if c.question.id == "5"] == [0.2, 0.6]
    assert (
        "2 insertion points merged with a nearer one (they cut at the same sentence)" in plan.notes
    )


@given(st.integers(1, 8), st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=1))
def test_of_equal_cuts_the_share_nearest_to_the_cut_stays(
    sentences: int, shares: list[float]
) -> None:
    trace = thought("q", 0, sentences)
    kept = distinct_cuts(trace, shares)
    by_cut = {cut_at_share(trace, share).chars: share for share in kept}
    assert len(by_cut) == len(kept)
    assert set(by_cut) == {cut_at_share(trace, share).chars for share in shares}
    for share in shares:
        cut = cut_at_share(trace, share)
        assert abs(by_cut[cut.chars] - cut.share) <= abs(share - cut.share)


def test_the_placebo_is_another_correct_thought_on_the_same_question() -> None:
    for case in arm(planned(Recoverability(), four(), POLICY), "placebo"):
        placebo = case.opening["distractor"]
        assert placebo.question == case.question.id
        assert placebo.correct
        assert placebo.draw != case.opening["main"].draw


def test_an_original_that_alone_is_correct_has_no_placebo_and_is_counted() -> None:
    lonely = [
        (question("5"), [thought("5", 0), thought("5", 1, said="9", correct=False)]),
        (question("6"), [thought("6", 0), thought("6", 1)]),
    ]
    plan = planned(Recoverability(points=(0.0,)), bank(*lonely), POLICY)
    assert {case.question.id for case in arm(plan, "placebo")} == {"6"}
    assert "1 originals without another correct sample for the placebo" in plan.notes


def steer_length(case: Case) -> int:
    """Return how many tokens of its recording the distractor's seat plays."""
    assert isinstance(case.policy, Distractor)
    until: Share | Length = Share(of=case.policy.length)
    if case.policy.steer_tokens is not None:
        until = Length(tokens=case.policy.steer_tokens)
    return play(case.opening["distractor"], 0, until, "distractor", "").tokens


def test_the_placebo_is_as_long_as_the_steer_to_the_nearest_sentence() -> None:
    plan = planned(Recoverability(length=0.4, points=(0.0, 0.2, 0.4, 0.6)), four(), POLICY)
    steers = {case.design.pair: steer_length(case) for case in arm(plan, "steer")}
    placebos = {case.design.pair: steer_length(case) for case in arm(plan, "placebo")}
    assert placebos == steers
    assert set(steers.values()) == {12}


def test_where_token_ids_are_unknown_the_placebo_is_as_long_as_the_steer() -> None:
    plain = [
        (asked, [replace(one, ids=None, ends=None, tokenizer=None) for one in of])
        for asked, of in ((question(n), [thought(n, 0), thought(n, 1)]) for n in "56")
    ]
    plan = planned(Recoverability(length=0.5, points=(0.0,)), bank(*plain), POLICY)
    texts = {
        case.design.arm: play(case.opening["distractor"], 0, _until(case), "distractor", "").text
        for case in plan.cases
        if "distractor" in case.opening and case.question.id == "5"
    }
    assert len(texts["placebo"]) == len(texts["steer"]) > 20


def _until(case: Case) -> Share | Length:
    assert isinstance(case.policy, Distractor)
    tokens = case.policy.steer_tokens
    return Length(tokens=tokens) if tokens else Share(of=case.policy.length)


def test_the_control_without_a_steer_does_not_depend_on_the_distractors() -> None:
    scenario = Recoverability(points=(0.0, 0.4))
    other = bank(*((question(n), [thought(n, 0), thought(n, 1)]) for n in "5678"), OTHER)
    ids = {case.id for case in arm(planned(scenario, four(), POLICY), "none")}
    assert ids < {case.id for case in arm(planned(scenario, other, POLICY), "none")}
    assert all(set(c.opening) == {"main"} for c in arm(planned(scenario, four(), POLICY), "none"))


OTHER = (question("9"), [thought("9", 0)])


def test_arms_of_one_pair_share_question_point_and_original() -> None:
    plan = planned(Recoverability(), four(), POLICY)
    for case in plan.cases:
        at = case.design.at
        asked, draw = original(case)
        assert case.design.pair == f"{asked}/{draw}/{at:g}"
        assert case.design.realised == round(cut_at_share(case.opening["main"], at).share, 4)  # type: ignore[arg-type]  # a point
    pairs = Counter(case.design.pair for case in plan.cases)
    assert set(pairs.values()) == {3}


def test_no_case_reports_a_draw_of_the_bank() -> None:
    assert {case.draw for case in planned(Recoverability(), four(), POLICY).cases} == {None}


def test_kept_parts_and_steers_that_hold_the_answer_are_labelled() -> None:
    early = thought("6", 0)
    told = replace(thought("5", 0), text="It is 5.\n" + "No more.\n" * 9, ids=None, ends=None)
    plan = planned(
        Recoverability(points=(0.0, 0.8), controls=()),
        bank((question("5"), [told]), (question("6"), [early])),
        POLICY,
    )
    held = {
        (c.question.id, c.design.at): (
            c.design.own_holds_answer,
            c.design.steer_holds_answer,
        )
        for c in plan.cases
    }
    assert held == {
        ("5", 0.0): (False, False),
        ("5", 0.8): (True, False),
        ("6", 0.0): (False, False),
        ("6", 0.8): (True, False),
    }


def test_distractors_may_come_from_another_seat() -> None:
    mine = four()
    theirs = {"9": (thought("9", 3),)}
    both = Bank(
        [*mine.questions, question("9")],
        {"main": {**mine.solos["main"], "9": ()}, "noisy": {**dict.fromkeys("5678", ()), **theirs}},
    )
    scenario = Recoverability(source="noisy")
    assert scenario.solos() == {"main": 8, "noisy": 8}
    assert {rival(case) for case in arm(planned(scenario, both, POLICY), "steer")} == {("9", 3)}


def test_without_a_distractor_that_answers_otherwise_an_original_is_left_out_and_counted() -> None:
    same = [(question(name, "7"), [thought(name, 0, said="7")]) for name in ("q1", "q2")]
    plan = planned(Recoverability(), bank(*same), POLICY)
    assert list(plan.cases) == []
    assert "2 originals without a distractor with another answer" in plan.notes


def test_an_open_thought_distracts_nobody() -> None:
    open_ = replace(thought("6", 0, correct=False), closed=False)
    plan = planned(
        Recoverability(), bank((question("5"), [thought("5", 0)]), (question("6"), [open_])), POLICY
    )
    assert list(plan.cases) == []


def test_the_phrase_alone_is_a_control_that_no_distractor_decides() -> None:
    scenario = Recoverability(points=(0.4,), controls=("phrase",))
    plan = planned(scenario, four(), POLICY)
    for case in arm(plan, "phrase"):
        assert case.policy == Distractor(at=0.4, steer_tokens=0)
        assert case.opening["main"] == case.opening["distractor"]
        assert case.id == f"{case.design.pair}/phrase"
    assert len(arm(plan, "phrase")) == len(arm(plan, "steer")) == 8


def solved(**counts: int) -> Bank:
    """Questions with as many correct thoughts of four as is said."""
    return bank(
        *(
            (
                question(n),
                [thought(n, d, correct=d < k, said=n if d < k else "0") for d in range(4)],
            )
            for n, k in counts.items()
        )
    )


def test_only_questions_that_are_solved_as_often_as_asked_are_disturbed() -> None:
    made = solved(**{"1": 1, "2": 2, "3": 3, "4": 4})
    always = Recoverability(samples=4, solved_at_least=4, points=(0.0,))
    assert {case.question.id for case in planned(always, made, POLICY).cases} == {"4"}
    some = Recoverability(samples=4, solved_at_least=2, solved_at_most=3, points=(0.0,))
    assert {case.question.id for case in planned(some, made, POLICY).cases} == {"2", "3"}


def test_drawn_by_solve_count_the_rare_counts_come_as_often_as_the_frequent() -> None:
    often = {f"q{n}": 4 for n in range(60)}
    seldom = {f"r{n}": 1 for n in range(12)}
    scenario = Recoverability(
        samples=4, originals=12, drawn="solve counts", points=(0.0,), controls=()
    )
    made = solved(**often, **seldom)
    counts = Counter(case.design.solved for case in planned(scenario, made, POLICY).cases)
    assert counts.total() == 12
    assert 3 <= counts[1] <= 9  # 6 on average; 2 of 12 if every question came as often


def test_long_distractors_are_cut_where_nine_tenths_of_the_originals_end() -> None:
    def lengthy(name: str, chunks: int) -> tuple[Question, list[Recording]]:
        text = "".join(f"{'word ' * 29}end{n}.\n\n" for n in range(chunks))
        one = replace(thought(name, 0), text=text, ids=None, ends=None)
        return question(name), [one]

    made = bank(*(lengthy(str(n), n) for n in range(1, 12)))
    scenario = Recoverability(pool="long", points=(0.0,), controls=())
    steers = {
        rival(case)[0]: case.opening["distractor"].text.count("end")
        for case in planned(scenario, made, POLICY).cases
    }
    assert steers == {"9": 9, "10": 10, "11": 10}


def test_the_distractors_first_paragraph_can_be_left_out() -> None:
    solos = [(question(name), [paragraphs(name, 0)]) for name in "56"]
    scenario = Recoverability(drop_first_paragraph=True, points=(0.0,), controls=())
    for case in planned(scenario, bank(*solos), POLICY).cases:
        steer, whole = case.opening["distractor"], paragraphs(rival(case)[0], 0)
        assert whole.text.endswith("\n\n" + steer.text)
        assert len(steer.ids or ()) == len(steer.ends or ()) == steer.tokens == 21


def test_a_steer_can_be_a_number_of_tokens() -> None:
    scenario = Recoverability(steer_tokens=9, points=(0.0, 1.0))
    plan = planned(scenario, four(), POLICY)
    for case in arm(plan, "steer") + arm(plan, "placebo"):
        assert isinstance(case.policy, Distractor)
        assert case.policy.steer_tokens == 9
        assert steer_length(case) == 9
    assert {case.design.steer_tokens for case in arm(plan, "steer")} == {9}


def test_a_steer_that_turns_right_brings_another_correct_thought() -> None:
    scenario = Recoverability(corrector="helper", points=(0.0,))
    plan = planned(scenario, four(), POLICY)
    for case in arm(plan, "steer"):
        right = case.opening["helper"]
        assert isinstance(case.policy, Distractor)
        assert case.policy.corrector == "helper"
        assert (right.question, right.correct) == (case.question.id, True)
        assert right.draw != case.opening["main"].draw
    assert all("helper" not in case.opening for case in arm(plan, "none") + arm(plan, "placebo"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steer": "given"}, "steer 'given' needs a file of thoughts"),
        ({"thoughts": "mine.jsonl"}, "steer 'given' needs a file of thoughts"),
        ({"steer": "digits", "steer_tokens": 9}, "steer_tokens cannot be taken"),
        ({"steer": "noise", "controls": ["phrase"]}, "no control with only the phrase"),
        ({"solved_at_least": 9}, "solved 9 to 8 of 8 times is not a range; set counts from 1"),
        ({"solved_at_least": 3, "solved_at_most": 2}, "solved 3 to 2 of 8 times"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Recoverability.model_validate(settings)


def test_by_chunks_the_first_one_is_kept_at_every_point() -> None:
    def lengthy(name: str) -> tuple[Question, list[Recording]]:
        text = "".join(f"{'word ' * 34}{name}.\n\n" for _ in range(5))
        return question(name), [replace(thought(name, 0), text=text, ids=None, ends=None)]

    scenario = Recoverability(
        points=(0.0, 0.4), cut="chunk", keep_first_paragraph=True, controls=("none",)
    )
    plan = planned(scenario, bank(lengthy("5"), lengthy("6")), POLICY)
    kept = {}
    for case in arm(plan, "steer"):
        assert isinstance(case.policy, Distractor)
        own = case.opening["main"]
        cut = cut_at_share(own, case.policy.at, by=case.policy.cut)
        kept[case.design.at] = own.text[: cut.chars].count(".")
        assert case.design.realised == round(cut.share, 4)
    assert kept == {0.0: 1, 0.4: 2}
