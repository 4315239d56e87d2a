"""Going on from a unit of an episode with another policy."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from collab.endpoints.tokens import Tokenizer
from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench


def test_a_fork_keeps_the_first_units_and_lets_another_policy_go_on(
    command: Command, kept: Any, scripted: Scripted, letters: Tokenizer
) -> None:
    with scripted("It is so.</think>So \\boxed{4}.") as bench:
        words = ["fork", str(kept.folder), "three/1", "--at", "2", "--samples", "2"]
        words += ["team=solo", "policy=solo", *bench.words, "team.main.revision=v1"]
        said = command(*words)
        again = command(*words)
        drawn = [one.body for one in bench.server.generating if one.body["max_tokens"] > 1]
    assert (said.status, said.err) == (0, "")
    assert "done: 2 episodes, 2 generations sampled, 0 from the store" in said.out
    assert "done: 2 episodes, 0 generations sampled, 0 from the store" in again.out
    assert "forked from three/1 after unit 2; its own verdict: correct" in said.out
    forked = RunFolder(kept.folder.parent / said.out.splitlines()[-1].rpartition("/")[2])
    for case in ("three/1/fork/2/0", "three/1/fork/2/1"):
        episode, row = forked.episode(case)
        units = episode.trajectory.units
        assert [(unit.author, unit.text) for unit in units] == [
            ("partner", "Step 0. "),
            ("main", "Step 1. "),
            ("main", "It is so."),
        ]
        assert row["labels"]["of"] == "three/1"
        assert forked.scores()[case].verdict == "wrong"
    assert forked.manifest["decides"]["scenario"]["at"] == 2
    assert len(drawn) == 2
    assert all(letters.decode(one["prompt"]).endswith("Step 0. Step 1. ") for one in drawn)


def test_without_a_place_the_units_are_listed(command: Command, kept: Any) -> None:
    said = command("fork", str(kept.folder), "three/0")
    assert (said.status, said.err) == (0, "")
    head, *rows = said.out.splitlines()
    assert head.split()[:2] == ["--at", "author"]
    assert [row.split()[:2] for row in rows] == [
        ["1", "partner"],
        ["2", "main"],
        ["3", "partner"],
        ["4", "main"],
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["three/0", "--at", "2"], "name the policy of the fork: policy=…"),
        (["three/0", "--at", "9", "policy=solo"], "cannot keep units up to 9: allowed are 0 to 4"),
        (["three", "--at", "1", "policy=solo"], "2 episodes match, such as 'three/0', 'three/1'"),
        (["three/0", "--at", "1", "policy=solo", "questions.count=3"], "has no effect here"),
        (["three/0", "--at", "1", "policy=guide"], "seat 'guide' is not in the team"),
        (["three/0", "--at", "1", "policy=solo", "--samples", "0"], "samples"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(
    command: Command, kept: Any, words: list[str], said: str
) -> None:
    assert said in command("fork", str(kept.folder), *words).error
    assert [path.name for path in kept.folder.parent.iterdir()] == [kept.folder.name]
