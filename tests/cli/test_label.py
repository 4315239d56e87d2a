"""Labels by hand from the command line, over a pipe, until a report tells what went wrong."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from collab.analysis import annotations
from collab.analysis.failure_modes import DEFINITIONS
from collab.report import failure_table
from collab.report.run_json import results
from collab.report.runs import RunSummary
from collab.runs.run_folder import RunFolder
from tests.analysis.test_annotations import made

Command = Callable[..., Any]  # any: what conftest says a command comes to


@pytest.fixture
def label(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return how to label a run whose four failed steered episodes name trains or nuts."""
    made(tmp_path / "run")

    def typed(text: str, *words: str) -> Any:  # any: as above
        monkeypatch.setattr("sys.stdin", StringIO(text))
        return command("label", str(tmp_path / "run"), *words)

    return typed


def labels(folder: Path) -> list[tuple[str, str]]:
    rows = map(json.loads, (folder / "run" / "ratings.jsonl").read_text().splitlines())
    return [(row["rater"], row["failing"]) for row in rows]


def test_labels_come_by_number_or_name_and_are_kept_as_they_come(
    label: Command, tmp_path: Path
) -> None:
    said = label("\n?\n99\nnever\n5\nTOOK\ns\nq\n", "--rater", "anna")
    assert said.status == 0, said.err
    assert labels(tmp_path) == [("anna", "never came back"), ("anna", "took over a result")]
    assert f"never came back: {DEFINITIONS['never came back']}" in said.out
    assert "'99' is not one of 1 to 8" in said.out
    assert "'never' is not one of 1 to 8" in said.out
    assert "2 of 4 labelled by anna" in said.out
    assert "labels by hand: " in said.out
    assert "once 100 episodes are labelled by hand" in said.out


def test_the_same_command_goes_on_and_ends_with_its_input(label: Command, tmp_path: Path) -> None:
    label("5\n5\n")
    again = label("5\n5\n5\n5\n")
    assert "4 of 4 labelled by me" in again.out
    assert len(labels(tmp_path)) == 4
    other = label("5\n", "--rater", "ben", "--sample", "2")
    assert "1 of 2 labelled by ben" in other.out
    assert "of ben and me: " in other.out


def test_what_the_rules_say_is_not_shown(label: Command) -> None:
    shown = label("q\n").out
    assert "A train with 5 wagons." in shown
    assert "gold answer '7'" in shown
    assert "kappa" not in shown


def test_a_run_without_failures_is_one_line(command: Command, tmp_path: Path) -> None:
    made(tmp_path, 0)
    said = command("label", str(tmp_path))
    assert said.status == 1
    assert "no steered episode that failed" in said.error


def test_a_report_tells_what_went_wrong_once_enough_is_labelled(
    label: Command, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "what went wrong" not in command("report", str(tmp_path)).out
    label("5\n")
    begun = command("report", str(tmp_path)).out
    assert "of the 4 failed steered episodes: shown once 100" in begun
    for module in (annotations, failure_table):
        monkeypatch.setattr(module, "NEEDED", 4)
    begun = command("report", str(tmp_path)).out
    assert "shown once 4 of them are labelled by hand (now 1)" in begun
    label("5\n7\n7\n")
    label("5\n5\n", "--rater", "ben")
    told = command("report", str(tmp_path)).out
    assert "steered (n=4)  no steer (n=1)" in told
    assert [line.split()[:4] for line in told.splitlines() if line.startswith("came back")] == [
        ["came", "back", "and", "failed"]
    ]
    assert "Cohen's kappa [95 % interval] of the rules and labels by hand: " in told
    assert "of ben and me: – (n=2)" in told
    table = results(RunSummary(RunFolder(tmp_path / "run")))["tables"][-1]
    assert table["title"].startswith("failure modes, by rule")
    assert [row[0] for row in table["rows"]] == [
        "never came back",
        "came back and failed",
        "own mistake",
    ]
