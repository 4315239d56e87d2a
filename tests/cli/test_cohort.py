import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import pytest

from collab.app.compose import composed
from collab.app.run import cohort_notes
from collab.app.session import decides
from collab.questions.cohort import Cohort

Command = Callable[..., Any]  # any: what conftest says a command comes to
SET = ("questions.count=3", "questions.levels=[easy]")
SOLO = ("scenario=solo", "policy=solo", "team=solo", *SET, "scenario.samples=2", "budget=200")


@pytest.fixture(scope="module")
def bench(command: Command, finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solo run whose draws the finished run has left in its store."""
    runs = tmp_path_factory.mktemp("bench") / "runs"
    runs.mkdir()
    copyfile(finished.runs / "store.sqlite", runs / "store.sqlite")
    said = command("run", *SOLO, "name=bench", f"runs={runs}")
    assert (said.status, "0 generations sampled" in said.out) == (0, True)
    return runs


def test_a_later_run_asks_the_frozen_questions_and_notes_their_hash(
    command: Command, bench: Path, tmp_path: Path
) -> None:
    path = tmp_path / "shared.json"
    said = command("cohort", str(bench / "bench"), "--solved", "1-2", "--to", str(path))
    assert said.status == 0
    each, last = said.out.splitlines()
    names = json.loads(path.read_text())["questions"]
    assert each == f"pocket/plain: {len(names)} of 3 solved 1 to 2"
    digest = last.rpartition("hash ")[2].rstrip(")")
    built = composed([*SET, f"questions.cohort={path}"])
    assert decides(built)["cohort"] == digest
    assert cohort_notes(built) == [f"cohort {path} (hash {digest}): {Cohort.load(path)}"]
    assert cohort_notes(composed(SET)) == []
    assert sorted(one.id for one in built.questions.load(built.config.prompt)) == names


def test_an_unfinished_run_is_refused(command: Command, bench: Path, tmp_path: Path) -> None:
    half = copytree(bench, tmp_path / "half")
    (scores,) = half.glob("bench/*/scores.jsonl")
    scores.write_bytes(b"".join(scores.read_bytes().splitlines(keepends=True)[:-1]))
    said = command("cohort", str(half), "--solved", "2", "--to", str(tmp_path / "none.json"))
    assert "is not finished (stopped): run it to its end first" in said.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--solved", "most"], "--solved 'most' is no count: give 8, or 0-1"),
        (["--solved", "8"], "solved 8 to 8 times of 2 draws"),
    ],
)
def test_a_count_that_cannot_be_is_refused(
    command: Command, bench: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    path = tmp_path / "shared.json"
    assert said in command("cohort", str(bench / "bench"), *words, "--to", str(path)).error
    assert not path.exists()


def test_a_run_that_is_no_solo_run_is_refused(command: Command, finished: Any) -> None:
    words = ["--solved", "2", "--to", "none.json"]
    assert "holds no solo draws" in command("cohort", str(finished.folder), *words).error
