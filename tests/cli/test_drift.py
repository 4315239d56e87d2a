"""What a model is called in the store, and what is said where that may not be one model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collab.app.drift import drift_notes
from collab.app.model_identity import identity, is_known
from collab.config.config import ModelConfig
from collab.endpoints.owner import OWNER
from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to


@pytest.mark.parametrize(
    ("id", "revision", "known"),
    [
        ("openai/gpt-4o-2024-08-06", None, True),
        ("anthropic/claude-sonnet-4-20250514", None, True),
        ("anthropic/claude-3-7-sonnet@20250219", None, True),
        ("google/gemini-2.5-pro-preview-05-06", None, True),
        ("deepseek/deepseek-r1-0528", None, True),
        ("mistral/mistral-large-2411", None, True),
        ("openai/gpt-4o", None, False),
        ("deepseek/deepseek-reasoner", None, False),
        ("mistral/mistral-large-latest", "latest", False),
        ("Qwen/Qwen3-1.7B", "main", False),
        ("Qwen/Qwen3-1.7B", "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e", True),
        ("mine/grown-2048", None, False),
    ],
)
def test_an_id_that_may_stand_for_another_model_later_is_not_known(
    id: str, revision: str | None, known: bool
) -> None:
    assert is_known(ModelConfig(id=id, revision=revision)) == known


def test_a_model_whose_weights_are_at_hand_is_known_by_them(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    model = ModelConfig(id="lab/mine", checkpoint=str(tmp_path), dtype="bfloat16")
    assert (identity(model), is_known(model)) == ("lab/mine/bfloat16", False)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    named = identity(model)
    assert named.startswith("mine@")
    assert named.endswith("/bfloat16")
    assert is_known(model)
    (tmp_path / "model.safetensors").write_bytes(b"others")
    assert identity(model) != named


def test_a_model_of_the_hub_is_known_by_the_commit_that_its_branch_stood_for(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "snapshots" / ("ab" * 20)
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").touch()
    model = ModelConfig(id="lab/mine", revision="main", checkpoint=str(folder))
    assert (identity(model), is_known(model)) == (f"lab/mine@{'ab' * 20}", True)


def test_an_api_that_drifted_is_reported_with_the_draws_of_each_version() -> None:
    model = ModelConfig(id="lab/chat-2025-01-01")
    counted = {"gpt-4o fp_1": 1200, "gpt-4o fp_2": 3}
    (said,) = drift_notes({"main": model}, {identity(model): counted})
    assert said == (
        "main drifted: its server answered as 'gpt-4o fp_1' (1,200 draws), 'gpt-4o fp_2' (3 draws)"
    )
    assert list(drift_notes({"main": model}, {identity(model): {"": 9}})) == []


RUN = (
    "scenario=solo",
    "policy=solo",
    "team=solo",
    "questions.count=2",
    "questions.levels=[easy]",
    "scenario.samples=1",
    "budget=60",
)


def test_what_nobody_can_name_is_not_shared_across_runs_and_sampled_once_within_one(
    command: Command, scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("It is 3.</think>3") as bench:

        def play(name: str, *words: str) -> Any:
            said = command("run", *RUN, *bench.words, f"runs={tmp_path}", f"name={name}", *words)
            assert said.status == 0, said.err
            return said.out

        first = play("first")
        assert "main: 'scripted' may change without notice" in first
        assert " 2 generations sampled" in first
        assert " 0 generations sampled" in play("first")
        assert " 2 generations sampled" in play("second")
        known = play("third", "team.main.revision=v1")
        assert "may change without notice" not in known
        assert " 2 generations sampled" in known
        assert " 0 generations sampled" in play("fourth", "team.main.revision=v1")


def test_a_server_that_answers_as_another_version_is_reported_by_the_run(
    command: Command, scripted: Callable[..., Any], tmp_path: Path
) -> None:
    with scripted("It is 3.</think>3", traits=["drifting"]) as bench:
        words = (*RUN, *bench.words, f"runs={tmp_path}", "name=drifting")
        said = command("run", *words)
        again = command("run", *words)
    assert said.status == 0, said.err
    (line,) = (line for line in said.out.splitlines() if "drifted" in line)
    assert line.count("(1 draws)") == 2
    assert line.strip().startswith("main drifted: its server answered as 'fp_")
    assert line in again.out.splitlines()


OTHER = " ".join(np.show_config("dicts")["SIMD Extensions"]["found"])
"""What numpy is told to do without, so that its exponential is another one."""


@pytest.mark.skipif(not OTHER, reason="numpy has one level of SIMD on this processor")
def test_a_run_goes_on_under_another_kernel_and_its_manifest_says_so(
    process: Command, tmp_path: Path
) -> None:
    words = ("run", *RUN, "name=moved", "runs=runs")
    alone = {OWNER: ""}  # each start has a pocket server of its own
    first = process(*words, "caps.tokens=1", "concurrency=1", cwd=tmp_path, **alone)
    assert "caps.tokens=1 is reached" in first.err
    moved = process(*words, cwd=tmp_path, **alone, NPY_DISABLE_CPU_FEATURES=OTHER)
    assert moved.status == 0, moved.err
    assert " 1 generations sampled" in moved.out
    (folder,) = (tmp_path / "runs" / "moved").glob("solo-*")
    before, after = (start["answered"] for start in RunFolder(folder).manifest["starts"])
    ((model, counted),) = after.items()
    assert counted == before[model] | {kernel: 1 for kernel in counted.keys() - before[model]}
    assert len(counted) == 2
    (line,) = (line for line in moved.out.splitlines() if "more than one kernel" in line)
    assert all(f"'{kernel}' (1 draws)" in line for kernel in counted)
