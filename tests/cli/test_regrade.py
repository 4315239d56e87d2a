"""Judging stored answers again."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
VERDICT = 'Hm.</think>{"reference": "3", "student": "4", "verdict": "wrong"}'


def name_of(said: Any) -> str:
    """Return the name that new verdicts were given."""
    (name,) = re.findall(r"--verdicts (\w+)", said.out)
    return str(name)


def test_new_verdicts_stand_beside_the_old_ones(
    command: Command, kept: Any, tmp_path: Path
) -> None:
    before = kept.scores
    said = command("regrade", str(kept.folder), "grader=paper")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert next(line for line in lines if line.startswith("at the run")).split()[4] == "100"
    assert next(line for line in lines if line.startswith("now")).split()[2] == "50"
    assert "1 verdicts changed: 1 correct → wrong" in lines
    assert "  three/1: correct → wrong (given '3')" in lines
    assert "done: 2 episodes graded, " in said.out
    assert kept.scores == before
    again = RunFolder(kept.folder, name_of(said))
    assert {case: score.verdict for case, score in again.scores().items()} == {
        "three/0": "correct",
        "three/1": "wrong",
    }
    about = json.loads((kept.folder / "regraded" / name_of(said) / "grader.json").read_text())
    assert about["grader"]["maths"]["counts"] == "strict"

    told = command("report", str(kept.folder), "--verdicts", name_of(said))
    assert re.search(r"50 \[\d+,\d+\]", told.out)
    wrote = command(
        "export", str(kept.folder), "--verdicts", name_of(said), "--to", str(tmp_path / "to")
    )
    assert wrote.status == 0
    rows = (tmp_path / "to" / "episodes.csv").read_text().splitlines()
    assert [row.split(",")[4] for row in rows] == ["verdict", "correct", "wrong"]


def test_the_same_grader_has_one_name(command: Command, kept: Any) -> None:
    names = {
        name_of(command("regrade", str(kept.folder), *words))
        for words in (["grader=paper"], ["grader.maths.counts=strict", "grader.maths.workers=1"])
    }
    assert len(names) == 1


def test_a_model_judges_what_was_said_and_is_asked_once(
    command: Command, kept: Any, scripted: Scripted
) -> None:
    with scripted(VERDICT) as bench:
        seat = [word.replace("team.main", "team.judge") for word in bench.words]
        words = ["regrade", str(kept.folder), "grader=judge", *seat, "team.judge.revision=v1"]
        words += ["grader.judge.tokens=400", "store.url=" + str(kept.folder / "judge.sqlite")]
        first = command(*words)
        assert (first.status, first.err) == (0, "")
        sent = len(bench.server.generating)
        second = command(*words)
        look = 1
        assert len(bench.server.generating) - sent == look
    assert "2 verdicts changed: 2 correct → wrong" in first.out
    assert "done: 2 episodes graded, 2 generations sampled, 0 from the store" in first.out
    assert "done: 2 episodes graded, 0 generations sampled, 2 from the store" in second.out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("budget=3", "'budget=3' has no effect here: change grader, team, store"),
        ("~grader.judge", "'~grader.judge' removes a setting: here settings can only change"),
        ("grader=nix", "there is no grader 'nix' (there are: judge, paper, rules)"),
        ("grader.maths.count=3", "grader.maths.count: there is no such setting"),
        ("grader=judge", "grader.judge.seat='judge' is no seat of this run (seats: main, partner)"),
        ("grader=", "grader"),
    ],
)
def test_a_word_that_cannot_be_is_refused(
    command: Command, kept: Any, word: str, said: str
) -> None:
    assert said in command("regrade", str(kept.folder), word).error
    assert not (kept.folder / "regraded").exists()


def test_verdicts_that_are_not_there_are_listed(command: Command, kept: Any) -> None:
    there = name_of(command("regrade", str(kept.folder), "grader=rules"))
    said = command("report", str(kept.folder), "--verdicts", "nix")
    assert said.error.endswith(f"has no verdicts 'nix' (verdicts: {there})")


def test_a_question_that_is_missing_is_named(command: Command, kept: Any) -> None:
    (kept.folder / "questions.jsonl").write_text("")
    assert "lacks question 'three'" in command("regrade", str(kept.folder)).error


def test_a_run_without_an_episode_says_so(command: Command, kept: Any) -> None:
    (kept.folder / "scores.jsonl").unlink()
    assert "holds no finished episode yet" in command("regrade", str(kept.folder)).error


def test_an_answer_that_cannot_be_judged_is_named(command: Command, kept: Any) -> None:
    questions = kept.folder / "questions.jsonl"
    row = json.loads(questions.read_text())
    questions.write_text(json.dumps({**row, "answer": "\\"}) + "\n")
    said = command("regrade", str(kept.folder))
    assert said.status == 1
    assert "not graded: three/0: " in said.out
