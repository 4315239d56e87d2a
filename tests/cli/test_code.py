"""Both twin tests on a set of programs, from the command line: scripted coders, real sandboxes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
pytestmark = pytest.mark.usefixtures("bwrap")


def play(command: Command, runs: Path, words: Sequence[str]) -> RunFolder:
    """Examine the coders, run, and return the run's folder."""
    assert command("doctor", *words, f"runs={runs}").status == 0
    said = command("run", *words, f"runs={runs}")
    assert said.status == 0, said.err
    (manifest,) = runs.glob("code_*/*/manifest.json")
    return RunFolder(manifest.parent)


@pytest.mark.parametrize(
    ("experiment", "settings"),
    [
        ("code_recoverability", ["questions.levels=[middle]", "scenario.points=[0.4]"]),
        pytest.param(
            "code_guidability",
            ["questions.levels=[hard]", "scenario.lengths=[0.8]"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_twin_test_runs_on_programs(
    command: Command, tmp_path: Path, experiment: str, settings: list[str]
) -> None:
    words = [f"experiment={experiment}", "model@team.main=scripted_weak", "questions.count=5"]
    words += ["scenario.samples=3", *settings]
    folder = play(command, tmp_path / "runs", words)
    scores = folder.scores().values()
    assert {"steer", "none"} <= {score.design.arm for score in scores}
    assert {score.verdict for score in scores} <= {"correct", "wrong"}
    assert all("def work(x):" in str(score.extracted) for score in scores)
    assert all("base" in str(score.details["suites"]) for score in scores)
    by_question = folder.questions()
    assert all(by_question[score.question].grader == "code" for score in scores)
