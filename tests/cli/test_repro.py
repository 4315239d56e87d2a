import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from collab.app.compose import config_of
from collab.app.paper_runs import Player, shipped
from collab.questions.cohort import Cohort
from collab.report.claims import CLAIMS
from collab.report.paper import FIGURES, RUNS, TABLES

Command = Callable[..., Any]  # any: what conftest says a command comes to


def test_the_list_names_each_table_with_its_runs(command: Command) -> None:
    said = command("repro", "--list")
    assert said.status == 0
    assert re.search(r"^6 +solo, recoverability_shared +\d+ *$", said.out, re.MULTILINE)
    assert re.search(r"^figure 4 +solo, recoverability_shared", said.out, re.MULTILINE)
    rows = said.out.splitlines()[1:]
    assert len(rows) == len(TABLES) + len(FIGURES) + 1


@pytest.mark.parametrize("wanted", [["3"], ["figure", "9"], ["table"], []])
def test_what_the_paper_does_not_have_is_refused_with_what_it_has(
    command: Command, wanted: list[str]
) -> None:
    said = command("repro", *wanted)
    assert said.status == 1
    assert "tables: 1, 2, 4, 5" in said.error
    assert "collab repro --list" in said.error


@pytest.mark.parametrize("name", sorted({run.experiment for run in RUNS.values()}))
def test_an_experiment_of_the_paper_composes_small(name: str) -> None:
    small = config_of([f"experiment={name}", f"model@team.main={shipped(name)[-1]}"])
    assert (small.name, small.budget) == (name, 600)


@pytest.mark.parametrize("name", ["foreign_steers", "guidability_shared", "code_guidability"])
def test_a_run_composes_as_the_paper_had_it(name: str) -> None:
    words = [f"experiment={RUNS[name].experiment}", "model@team.main=qwen3_1_7b"]
    full = config_of([*words, *RUNS[name].full])
    assert full.budget == 32768
    assert full.questions["_target_"].endswith("Mix")
    assert not any(model.id.startswith("pocket/") for model in full.models.values())


def test_a_table_is_played_once_and_told(command: Command, tmp_path: Path) -> None:
    words = ["repro", "table", "4", "--models", "pocket_plain", "scenario.samples=2"]
    words += ["questions.count=1", "questions.levels=[easy,middle]", f"runs={tmp_path}"]
    first = command(*words)
    assert first.status == 0, first.err
    assert "solo: pocket_plain" in first.out
    assert re.search(r"model +easy +middle +mean", first.out)
    again = command(*words)
    assert again.out.startswith("\nTable 4 (App. C), ours")
    assert again.out.split("Table 4")[1] == first.out.split("Table 4")[1]
    assert "no claim from table 4" in again.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["checkpoints", "--series", "am"], "NAME=MODEL@REVISION"),
        (["6", "--series", "am=vllm@step_1"], "goes with collab repro checkpoints"),
    ],
)
def test_a_series_that_says_nothing_is_refused(
    command: Command, words: list[str], error: str
) -> None:
    assert error in command("repro", *words).error


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_checkpoints_go_through_all_three_runs(command: Command, tmp_path: Path) -> None:
    series = ["--series", "one=pocket_plain,pocket_restating", "--series", "two=pocket_checking"]
    said = command("repro", "checkpoints", *series, "questions.count=4", f"runs={tmp_path}")
    assert said.status == 0, said.err
    assert "one pocket_plain - two pocket_checking" in said.out
    assert "p (t test, as in the paper)" in said.out
    assert (tmp_path / "figures" / "checkpoints.png").exists()


def test_shared_questions_are_frozen_and_what_no_case_came_of_is_said(
    command: Command, tmp_path: Path
) -> None:
    words = ["repro", "figure", "4", "--models", "pocket_restating", f"runs={tmp_path}"]
    said = command(*words, "questions.count=1", "questions.levels=[easy]")
    assert said.status == 0, said.err
    (frozen,) = (tmp_path / "cohorts").glob("solo-8-8-*.json")
    assert Cohort.load(frozen).models == ("pocket/restating",)
    (manifest,) = tmp_path.glob("recoverability/*/manifest.json")
    assert Cohort.load(frozen).digest in manifest.read_text()
    assert "no scores of run recoverability_shared; play it first" in said.out
    assert (tmp_path / "figures" / "figure-4.png").exists()


def test_shipped_models_play_what_they_were_made_for() -> None:
    player = Player(Console(), ["pocket_plain", "scripted_weak", "qwen3_1_7b"], [], [])
    assert player.models_of(RUNS["solo"]) == ["pocket_plain", "qwen3_1_7b"]
    assert player.models_of(RUNS["code_guidability"]) == ["scripted_weak", "qwen3_1_7b"]


def test_models_that_are_not_there_are_refused(command: Command, tmp_path: Path) -> None:
    said = command("repro", "4", "--models", "nobody", f"runs={tmp_path}")
    assert said.status == 1
    assert "nobody" in said.error


@pytest.mark.long
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_every_run_composes_as_the_paper_had_it(run: Any) -> None:
    words = [f"experiment={run.experiment}", "model@team.main=qwen3_1_7b", *run.full]
    assert config_of(words).budget == 32768


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_table_and_figure_is_made_of_small_runs(command: Command, tmp_path: Path) -> None:
    small = ["questions.count=6", f"runs={tmp_path}"]
    for number in TABLES:
        said = command("repro", str(number), *small)
        assert said.status == 0, said.err
        assert f"Table {number} (" in said.out
        for claim in CLAIMS:
            if f"table {number}" in claim.shown:
                assert re.search(
                    rf"^(true|false|undecided) +{re.escape(claim.words[:20])}", said.out, re.M
                )
    said = command("repro", "figure", "4", *small)
    assert (tmp_path / "figures" / "figure-4.svg").exists(), said.err
