"""`collab prune`, told in its own words."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def runs(finished: Any, tmp_path: Path) -> Path:
    """A copy of a finished run with its store."""
    return shutil.copytree(finished.runs, tmp_path / "runs")


def test_a_run_that_is_there_keeps_all_it_was_given(command: Any, runs: Path) -> None:
    said = command("prune", f"runs={runs}")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("no run needs 0 generations; ")
    assert "--yes" not in said.out


def test_what_would_go_is_said_and_goes_only_when_told_to(
    command: Any, finished: Any, runs: Path
) -> None:
    (folder,) = (path.parent for path in runs.glob("*/*/manifest.json"))
    shutil.rmtree(folder)
    said = command("prune", f"runs={runs}")
    first, *table, total, last = said.out.splitlines()
    assert first == f"no longer needs its generations: {folder.relative_to(runs)}"
    assert [line.split("@")[0] for line in table[1:]] == ["plain"]
    assert total.endswith("; 0 stay")
    assert last == "nothing is removed yet: add --yes"
    count = total.split()[3]
    assert command("prune", f"runs={runs}", "--older-than=1").out.startswith(f"{first}\nno run ne")
    assert "(models: 'plain@" in command("prune", f"runs={runs}", "--model=gpt*").error
    told = command("prune", f"runs={runs}", "--model=plain@*", "--yes").out.splitlines()
    assert told[-1] == f"removed {count} generations"
    assert command("prune", f"runs={runs}", "--yes").out.splitlines()[-1] == "removed 0 generations"


def test_a_run_may_be_named(command: Any, runs: Path) -> None:
    (folder,) = (path.parent for path in runs.glob("*/*/manifest.json"))
    said = command("prune", f"runs={runs}", f"--run={folder}")
    assert said.out.endswith("; 0 stay\nnothing is removed yet: add --yes\n")


def test_a_store_that_is_not_there_is_one_line(command: Any, tmp_path: Path) -> None:
    said = command("prune", f"runs={tmp_path}")
    assert said.status == 1
    assert said.error == (
        f"error: no store '{tmp_path}/store.sqlite'; set store.url, or change to its folder"
    )
    assert list(tmp_path.iterdir()) == []
