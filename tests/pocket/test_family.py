"""The problem family, and the thinking texts about it, which never contain other problems."""

import random
import re
from collections.abc import Sequence

import pytest

from collab.pocket.family import LEVELS, SLIP_MARK, Problem, draw, make, problems, replay
from collab.pocket.styles import STYLES, ThinkingLine, corrected, started_over

ASKED = ("easy", "middle", "hard")


def said(sentences: Sequence[ThinkingLine]) -> str:
    return "".join(sentence.text for sentence in sentences)


@pytest.fixture(scope="module")
def training_texts() -> list[tuple[Problem, str]]:
    """Draw thousands of texts like training does, each with its problem."""
    rng = random.Random(7)
    texts = []
    for i in range(3000):
        problem = draw(rng.choice(list(LEVELS)), rng, "train")
        style = list(STYLES.values())[i % len(STYLES)]
        texts.append((problem, said(started_over(problem, style, rng, times=i % 5))))
    return texts


@pytest.mark.parametrize("level", ASKED)
def test_the_question_alone_leads_to_the_answer(level: str) -> None:
    for problem in problems(level, 100):
        value = int(re.findall(r"has (\d+)", problem.text)[0])
        for change in re.findall(r"(?:She|He) (\w+)(?: (\d+))?\.", problem.text):
            match change:
                case "doubles", "":
                    value *= 2
                case "triples", "":
                    value *= 3
                case "buys" | "finds" | "wins", amount:
                    value += int(amount)
                case _, amount:
                    value -= int(amount)
        assert value == problem.answer


def test_same_seed_makes_the_same_problem_and_another_seed_another() -> None:
    assert make("middle", 3) == make("middle", 3)
    assert make("middle", 3) != make("middle", 4)
    assert problems("hard", 5, seed=1) == problems("hard", 9, seed=1)[:5]


@pytest.mark.parametrize("level", LEVELS)
def test_ids_are_made_of_content_and_never_repeat(level: str) -> None:
    made = problems(level, 300)
    assert len({problem.id for problem in made}) == len({p.text for p in made}) == 300


@pytest.mark.parametrize("level", LEVELS)
def test_problems_stay_within_their_level(level: str) -> None:
    knobs = LEVELS[level]
    for problem in problems(level, 100, split="train"):
        assert knobs.length[0] <= len(problem.steps) <= knobs.length[1]
        assert all(0 < step.after <= knobs.most for step in problem.steps)


def test_training_and_evaluation_never_share_numbers() -> None:
    asked = [problem for level in ASKED for problem in problems(level, 200)]
    taught = [problem for level in ASKED for problem in problems(level, 500, split="train")]
    assert all(problem.held_out for problem in asked)
    assert not any(problem.held_out for problem in taught)


def test_a_text_fits_its_own_problem_alone() -> None:
    first, second = problems("middle", 2)
    text = said(STYLES["plain"](first, random.Random(0)))
    assert replay(first, text).holds
    assert not replay(second, text).holds


def test_a_wrong_step_is_found_and_a_marked_one_forgiven() -> None:
    problem = make("middle", 0)
    first, *rest = (f"{step.sum}.\n" for step in problem.steps)
    wrong = "1 plus 1 is 3.\n"
    assert replay(problem, first + wrong + "".join(rest)).unmarked == (1,)
    assert replay(problem, first + wrong + f"{SLIP_MARK}\n" + "".join(rest)).holds


def test_a_skipped_step_is_wrong() -> None:
    problem = make("hard", 0)
    text = "".join(f"{step.sum}.\n" for step in (problem.steps[0], problem.steps[2]))
    assert replay(problem, text).wrong == (1,)


def test_an_own_slip_is_marked_and_mended() -> None:
    problem = make("middle", 1, "train")
    slipped = [f"{problem.steps[0].sum}.\n", "9 plus 9 is 99.\n", "99 minus 1 is 98.\n"]
    for seed in range(5):
        text = said(corrected(problem, slipped, random.Random(seed)))
        assert replay(problem, text).holds
        assert text.endswith(f"So the answer is {problem.answer}.\n")


def test_no_training_text_holds_another_problems_text(
    training_texts: list[tuple[Problem, str]],
) -> None:
    for problem, text in training_texts:
        assert replay(problem, text).holds, (problem.text, text)


def test_no_training_text_holds_the_phrase_that_the_twin_tests_insert(
    training_texts: list[tuple[Problem, str]],
) -> None:
    for problem, text in training_texts:
        words = (problem.text + " " + text).lower()
        assert "let me" not in words
        assert not re.search(r"\bwait\b", words)


def test_slips_and_new_starts_are_read_but_never_taught() -> None:
    rng = random.Random(3)
    for i in range(1000):
        problem = draw("middle", rng, "train")
        style = list(STYLES.values())[i % len(STYLES)]
        sentences = started_over(problem, style, rng, times=i % 3)
        wrong = replay(problem, said(sentences)).wrong
        lines = [s for s in sentences if s.text]
        assert not any(lines[at].taught for at in wrong)


def test_every_sentence_ends_in_a_full_stop_and_a_newline(
    training_texts: list[tuple[Problem, str]],
) -> None:
    for _, text in training_texts:
        assert all(line == "" or line.endswith(".") for line in text.splitlines())
        assert text.endswith(".\n")
