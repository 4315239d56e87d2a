import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.core.boundary import cut_at_share
from collab.core.trajectory import Message, Question, Recording
from collab.episode.engine import Case
from collab.errors import ConfigError
from collab.policies.distractor import Distractor
from collab.scenarios.base import Bank, Plan
from collab.scenarios.recoverability import Recoverability
from collab.scenarios.steers import FILLER, SteerKind, other_numbers, thoughts

FENCE = Question("fence", (Message("user", "Mia paints 12 boards of a fence. How many?"),), "12")
BOARDS = Question("boards", (Message("user", "Tom paints 15 boards of a wall. How many?"),), "15")
TRAINS = Question("trains", (Message("user", "Two trains meet. When is that?"),), "7")


def thought(of: Question, draw: int, said: str | None = None) -> Recording:
    """A trace of ten short sentences; correct unless it says something else."""
    answer = said or str(of.answer)
    text = "".join(f"Line {n} of {of.id} is {n + 10}.\n" for n in range(10))
    ends = tuple(word.end() for word in re.finditer(r"\S+\s*", text))
    return Recording(
        question=of.id,
        text=text,
        tokens=len(ends),
        ids=tuple(range(len(ends))),
        tokenizer="words",
        ends=ends,
        model="model@1",
        draw=draw,
        correct=answer == of.answer,
        extracted=answer,
    )


async def in_letters(text: str) -> tuple[int, ...]:
    return tuple(range(1, len(text) + 1))


async def untold(_: str) -> None:
    return None


def played(
    scenario: Recoverability,
    seats: Sequence[str] = ("main",),
    policy: Distractor | None = None,
    counts: Callable[[str], Awaitable[tuple[int, ...] | None]] = untold,
) -> dict[str, list[Case]]:
    """Return the cases on the fence, by arm."""
    solos: dict[str, tuple[Recording, ...]] = {
        question.id: (thought(question, 0), thought(question, 1), thought(question, 2, "99"))
        for question in (FENCE, BOARDS, TRAINS)
    }
    bank = Bank([FENCE, BOARDS, TRAINS], dict.fromkeys(seats, solos), counts={"main": counts})
    plan = asyncio.run(Plan.of(scenario.cases(bank, policy or Distractor())))
    arms: dict[str, list[Case]] = {}
    for case in plan.cases:
        if case.question is FENCE:
            arms.setdefault(str(case.design.arm), []).append(case)
    return arms


def steers(arms: dict[str, list[Case]]) -> list[Recording]:
    return [case.opening["distractor"] for case in arms["steer"]]


def test_a_misdirecting_steer_is_on_the_question_nearest_in_words() -> None:
    arms = played(Recoverability(steer="similar", points=(0.0,)))
    assert {steer.question for steer in steers(arms)} == {"boards"}
    assert all(case.design.steer_question == "boards" for case in arms["steer"])
    assert arms["steer"][0].id.startswith("fence/0/0/similar/boards/")


@pytest.mark.parametrize("source", [None, "other"])
def test_an_incorrect_steer_is_a_wrong_trace_on_the_same_question(source: str | None) -> None:
    scenario = Recoverability(steer="wrong", source=source, points=(0.0,))
    arms = played(scenario, ("main", "other"))
    assert {(steer.question, steer.draw) for steer in steers(arms)} == {("fence", 2)}
    assert {case.rival for case in arms["steer"]} == {"99"}


def test_an_uninformative_steer_says_nothing_of_any_question() -> None:
    arms = played(Recoverability(steer="uninformative", points=(0.0,), length=0.33))
    (text,) = {steer.text for steer in steers(arms)}
    assert text == " ".join(FILLER) + "\n"
    assert {case.rival for case in arms["steer"]} == {None}
    for case in arms["placebo"]:  # as many characters as a third of the filler
        assert isinstance(case.policy, Distractor)
        assert case.policy.steer_tokens is not None
        assert 20 <= case.policy.steer_tokens <= 50


@pytest.mark.parametrize("kind", ["uninformative", "digits", "inaccurate", "noise"])
def test_a_text_that_nobody_drew_is_as_long_as_it_is_to_its_reader(kind: SteerKind) -> None:
    arms = played(Recoverability(steer=kind, points=(0.0,), length=0.5), counts=in_letters)
    for case in arms["steer"]:
        steer = case.opening["distractor"]
        assert steer.tokens == len(steer.text)
        cut = cut_at_share(steer, 0.5 if kind == "uninformative" else 1.0)
        assert case.design.steer_tokens == cut.chars > 0
        assert case.design.steer_realised == pytest.approx(cut.share, abs=1e-4)


def test_a_text_in_an_authors_own_tokens_keeps_them() -> None:
    arms = played(Recoverability(steer="similar", points=(0.0,), length=0.5), counts=in_letters)
    assert {steer.ends for steer in steers(arms)} == {thought(BOARDS, 0).ends}


def test_given_steers_are_read_from_a_file_by_id_or_by_text(tmp_path: Path) -> None:
    path = tmp_path / "thoughts.jsonl"
    path.write_text(
        '{"question": "fence", "thought": "Paint it black."}\n'
        '{"question": "Two trains meet.", "thought": "Choo."}\n'
    )
    arms = played(Recoverability(steer="given", thoughts=path, points=(0.0,), length=1.0))
    assert {steer.text for steer in steers(arms)} == {"Paint it black."}
    assert thoughts(path)["Two trains meet."] == "Choo."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"thoughts\.jsonl:1 is not JSON"),
        ('{"question": "a"}', r"thoughts\.jsonl:1 needs texts in 'question' and 'thought'"),
        ('{"question": "a", "thought": " "}', "needs texts"),
    ],
)
def test_a_line_that_is_no_thought_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "thoughts.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=said):
        thoughts(path)


def test_corrupted_digits_are_the_originals_own_next_stretch() -> None:
    arms = played(Recoverability(steer="digits", points=(0.4,), length=0.2))
    own = thought(FENCE, 0).text
    for case, right in zip(arms["steer"], arms["placebo"], strict=True):
        steer, placebo = case.opening["distractor"], right.opening["distractor"]
        assert placebo.text == "Line 4 of fence is 14.\nLine 5 of fence is 15.\n"
        assert own.index(placebo.text) == len(own) * 2 // 5
        assert re.sub(r"\d", "0", steer.text) == re.sub(r"\d", "0", placebo.text)
        assert not set(re.findall(r"\d+", steer.text)) & {"4", "5", "14", "15"}
        assert case.policy == Distractor(at=0.4, length=1.0, phrase="")
        assert placebo.ids == thought(FENCE, 0).ids[24:36]  # type: ignore[index]  # it has ids
    assert {case.rival for case in arms["steer"]} == {None}


def test_noise_stands_behind_every_sentence_of_the_stretch() -> None:
    (first, *_) = steers(played(Recoverability(steer="noise", points=(0.2,), length=0.2)))
    lines = first.text.splitlines()
    assert [line.split(" is ")[0] for line in lines[::2]] == ["Line 2 of fence", "Line 3 of fence"]
    assert all("of fence" not in line for line in lines[1::2])


def test_inaccurate_noise_says_each_sentence_again_with_other_numbers() -> None:
    (first, *_) = steers(played(Recoverability(steer="inaccurate", points=(0.2,), length=0.1)))
    right, wrong = first.text.splitlines()
    assert right == "Line 2 of fence is 12."
    assert re.fullmatch(r"Line \d of fence is \d\d\.", wrong)
    assert wrong != right


@given(st.text("0123456789 .,ax=", max_size=40))
def test_every_number_becomes_another_of_as_many_digits(text: str) -> None:
    changed = other_numbers(text)
    assert len(changed) == len(text)
    numbers = re.compile(r"(?<![\w.])\d+(?!\w)")
    before, after = numbers.findall(text), numbers.findall(changed)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert numbers.sub("", changed) == numbers.sub("", text)
    assert other_numbers(text) == changed


def test_without_a_steer_of_the_kind_an_original_is_left_out_and_counted() -> None:
    right = Bank([FENCE], {"main": {"fence": (thought(FENCE, 0), thought(FENCE, 1))}})
    scenario = Recoverability(steer="wrong", points=(0.0,))
    plan = asyncio.run(Plan.of(scenario.cases(right, Distractor())))
    assert not plan.cases
    assert "2 originals without a wrong trace on the same question" in plan.notes
    unread = replace(thought(FENCE, 2, "9"), extracted=None)
    odd = Bank([FENCE], {"main": {"fence": (thought(FENCE, 0), unread)}})
    assert not asyncio.run(Plan.of(scenario.cases(odd, Distractor()))).cases
