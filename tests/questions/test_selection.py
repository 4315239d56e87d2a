from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab.core.trajectory import Question
from collab.errors import ConfigError
from collab.questions import Mix, Pocket, PromptFormat


def ids(questions: list[Question]) -> list[str]:
    return [question.id for question in questions]


ALL = ids(Pocket(levels=("easy", "middle"), count=20).load(PromptFormat()))


def chosen(**settings: object) -> list[str]:
    return ids(Pocket(levels=("easy", "middle"), count=20, **settings).load(PromptFormat()))


def test_a_filter_keeps_the_values_that_it_names() -> None:
    assert chosen(where={"level": ["easy"]}) == ALL[:20]
    assert chosen(where={"level": "middle", "set": ("pocket",)}) == ALL[20:]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"lvl": ["easy"]}, r"no question has a label 'lvl' \(labels: level, set\)"),
        ({"level": ["easy", 5]}, r"level: no question has '5' \(values: easy, middle\)"),
    ],
)
def test_a_filter_that_names_nothing_is_an_error(where: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chosen(where=where)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_smaller_subset_lies_in_a_greater_one_in_the_order_of_the_set(a: int, b: int) -> None:
    small, great = chosen(take=min(a, b)), chosen(take=max(a, b))
    assert (len(small), len(great)) == (min(a, b), max(a, b))
    assert set(small) <= set(great)
    assert great == [name for name in ALL if name in set(great)]


def test_a_subset_does_not_depend_on_what_else_is_there() -> None:
    both = set(chosen(take=20))
    easy = set(chosen(where={"level": "easy"}, take=10))
    assert both & set(ALL[:20]) <= easy or both & set(ALL[:20]) >= easy


@given(st.integers(1, 7))
def test_shards_share_nothing_and_are_everything_together(parts: int) -> None:
    shards = [chosen(shard=f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(ALL)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(ValidationError, match="shard"):
        Pocket(shard=shard)


def test_taking_more_than_there_are_or_leaving_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"take=41 is more than the 40 questions"):
        chosen(take=41)
    with pytest.raises(ConfigError, match=r"none of 40 questions is left"):
        chosen(take=1, shard="2/2")


def test_pocket_problems_are_told_apart_by_level_and_seed() -> None:
    made = Pocket(levels=("easy", "hard"), count=3).load(PromptFormat())
    assert [one.labels["level"] for one in made] == ["easy"] * 3 + ["hard"] * 3
    assert len({one.id for one in made}) == 6
    assert Pocket(levels=("easy", "hard"), count=3).load(PromptFormat()) == made
    assert not {q.id for q in made} & {q.id for q in Pocket(count=9, seed=1).load(PromptFormat())}
    assert all(one.answer and one.answer.lstrip("-").isdigit() for one in made)
    assert Pocket(seed=1).origin() != Pocket(seed=2).origin()


@pytest.mark.parametrize("levels", [("huge",), (), ("easy", "easy")])
def test_unknown_no_and_repeated_levels_are_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="levels"):
        Pocket(levels=levels)


def test_a_mix_asks_what_its_parts_ask_each_question_once(tmp_path: Path) -> None:
    easy = Pocket(levels=("easy",), count=4, prompt=PromptFormat(user="Easy: {question}"))
    both = Pocket(levels=("easy", "hard"), count=4, take=6)
    mix = Mix(parts={"one": easy, "two": both})
    made = mix.load(PromptFormat(), tmp_path)
    assert len({question.id for question in made}) == len(made)
    assert [q.labels["level"] for q in made[:4]] == ["one"] * 4
    assert made[0].labels == {"set": "one", "level": "one", "within": "easy"}
    assert made[0].messages[0].content.startswith("Easy: ")
    assert {q.labels["level"] for q in made} == {"one", "two"}
    said = mix.load(PromptFormat(user="{question}!"), tmp_path)[0].messages[0].content
    assert said.endswith("!")
    assert not said.startswith("Easy: ")
    assert mix.origin(tmp_path) == {"one": easy.origin(), "two": both.origin()}


def test_a_mix_of_something_else_is_refused() -> None:
    with pytest.raises(ValidationError, match="parts"):
        Mix(parts={"one": "pocket"})
