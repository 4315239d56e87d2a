import json
from dataclasses import replace
from pathlib import Path

import pytest

from collab.errors import ConfigError
from collab.questions import Pocket, PromptFormat
from collab.questions.cohort import Cohort, SolveCounts, shared

ONE = SolveCounts("one", 8, {"a": 8, "b": 8, "c": 1, "d": 0})
OTHER = SolveCounts("other", 8, {"a": 8, "b": 7, "c": 0, "d": 1})


def test_the_questions_are_those_that_all_models_solved_so_often() -> None:
    assert Cohort.of([ONE, OTHER], 8, 8).questions == ("a",)
    assert Cohort.of([ONE, OTHER], 0, 1).questions == ("c", "d")
    assert Cohort.of([ONE], 8, 8).questions == ("a", "b")
    assert shared([ONE, OTHER], 8, 8) == {"one": 2, "other": 1}


def test_a_cohort_says_its_rule_and_the_hash_names_the_questions_alone() -> None:
    both, alone = Cohort.of([OTHER, ONE], 0, 1), Cohort.of([ONE], 0, 1)
    assert str(both) == "2 questions solved 0 to 1 of 8 times by all of one, other"
    assert both.digest == alone.digest != Cohort.of([ONE], 8, 8).digest


@pytest.mark.parametrize(
    ("other", "counts", "said"),
    [
        (replace(OTHER, model="one"), (8, 8), "two runs are of model 'one'"),
        (replace(OTHER, samples=4), (8, 8), "one has 8 draws a question and other 4"),
        (replace(OTHER, solved={"a": 8}), (8, 8), "3 questions were given to only one of"),
        (OTHER, (9, 9), "solved 9 to 9 times of 8 draws is not a range; set counts from 0 to 8"),
        (OTHER, (2, 1), "the lower one first"),
        (OTHER, (4, 5), "none of 4 questions is solved 4 to 5 of 8 times by all of one, other"),
    ],
)
def test_models_that_were_not_asked_alike_are_no_cohort(
    other: SolveCounts, counts: tuple[int, int], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Cohort.of([ONE, other], *counts)


def test_a_frozen_file_is_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "cohorts" / "shared.json"
    cohort = Cohort.of([ONE, OTHER], 8, 8)
    cohort.write(path)
    cohort.write(path)
    assert Cohort.load(path) == cohort
    with pytest.raises(ConfigError, match="already holds another cohort"):
        Cohort.of([ONE], 8, 8).write(path)
    assert Cohort.load(path) == cohort


def test_a_file_that_is_no_cohort_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*`collab cohort` writes one"):
        Cohort.load(tmp_path / "none.json")
    (tmp_path / "odd.json").write_text('{"questions": []}')
    with pytest.raises(ConfigError, match=r"is not a cohort .*`collab cohort` writes one"):
        Cohort.load(tmp_path / "odd.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        Cohort.of([ONE], 8, 8).write(tmp_path / "file" / "shared.json")


def frozen(path: Path, *names: str) -> Path:
    keys = {"models": ["one"], "samples": 8, "least": 8, "most": 8, "questions": names}
    path.write_text(json.dumps(keys))
    return path


def test_a_set_asks_the_questions_of_a_cohort_alone(tmp_path: Path) -> None:
    every = [question.id for question in Pocket(count=5).load(PromptFormat())]
    path = frozen(tmp_path / "c.json", every[3], every[1])
    asked = Pocket(count=5, cohort=path).load(PromptFormat())
    assert [question.id for question in asked] == [every[1], every[3]]
    with pytest.raises(ConfigError, match=rf"1 of 2 .* not in this set, such as '{every[3]}'"):
        Pocket(count=3, cohort=path).load(PromptFormat())
