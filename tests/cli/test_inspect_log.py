"""A run as a log that Inspect opens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

Command = Callable[..., Any]  # any: what conftest says a command comes to


@pytest.fixture
def log(command: Command, kept: Any, tmp_path: Path) -> Path:
    """The log of the hand-written run."""
    said = command("export", str(kept.folder), "--form", "inspect", "--to", str(tmp_path / "to"))
    assert (said.status, said.err) == (0, "")
    (path,) = (tmp_path / "to").glob("*.eval")
    return path


def test_a_log_holds_every_episode_with_its_verdict_and_hand_offs(log: Path) -> None:
    with ZipFile(log) as file:
        header = json.loads(file.read("header.json"))
        sample = json.loads(file.read("samples/three/1_epoch_1.json"))
        summaries = json.loads(file.read("summaries.json"))
    assert (header["version"], header["status"]) == (2, "success")
    assert header["eval"]["task"] == "Collaboration · Alternate"
    assert header["results"]["scores"][0]["metrics"]["accuracy"]["value"] == 1.0
    assert [one["id"] for one in summaries] == ["three/0", "three/1"]
    assert sample["target"] == "3"
    thinking, answer = sample["messages"][-1]["content"]
    assert thinking["reasoning"] == "Step 0. Step 1. Step 2. Step 3. "
    assert answer["text"] == "So the answer is 3."
    assert sample["scores"]["collab"]["value"] == "C"
    written = [one for one in sample["events"] if "text" in one["data"]]
    assert [one["source"] for one in written[:4]] == ["partner", "main"] * 2


def test_inspect_reads_the_log(log: Path) -> None:
    inspect_log = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed")
    read = inspect_log.read_eval_log(str(log))
    assert read.status == "success"
    assert {sample.id for sample in read.samples} == {"three/0", "three/1"}
    assert read.samples[0].scores["collab"].value == "C"
    assert inspect_log.read_eval_log(str(log), header_only=True).results.total_samples == 2
