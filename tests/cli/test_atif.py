"""Runs as ATIF files: validated by the format's own package, and taken back as recordings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from collab.core.trajectory import Event, Trajectory, Unit
from collab.questions.atif import trace_row
from collab.questions.table import BadRow
from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
SOLO = ("scenario=solo", "policy=solo", "team=solo", "scenario.samples=1", "budget=300")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder of one's own."""
    monkeypatch.chdir(tmp_path)


def exported(command: Command, folder: Path) -> list[dict[str, Any]]:
    said = command("export", str(folder), "--to", "atif")
    assert (said.status, said.err) == (0, "")
    files = sorted((folder / "export").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_each_step_names_its_seat_kind_and_reason(command: Command, kept: Any) -> None:
    first, _ = exported(command, kept.folder)
    assert (first["schema_version"], first["trajectory_id"]) == ("ATIF-v1.8", "three/0")
    steps = first["steps"]
    assert [step["step_id"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert (steps[0]["source"], steps[0]["message"]) == ("user", "What is 1 + 2?")
    assert [step["extra"]["seat"] for step in steps[1:]] == ["partner", "main"] * 2 + ["main"]
    assert [step["reasoning_content"] for step in steps[1:5]] == [f"Step {n}. " for n in range(4)]
    assert steps[5]["message"] == r"So \boxed{3}."
    assert first["extra"]["verdict"] == "correct"


def test_the_format_s_own_package_accepts_every_file(command: Command, launched: Any) -> None:
    atif = pytest.importorskip("atif", reason="atif is not installed")
    folder = played(command, "twin=recoverability_small", "questions.count=4", "budget=300")
    documents = exported(command, folder)
    assert documents
    for document in documents:
        assert atif.Trajectory.model_validate(document).schema_version == "ATIF-v1.8"


def test_no_token_author_or_reason_is_lost(command: Command, launched: Any) -> None:
    folder = played(command, "twin=recoverability_small", "questions.count=4", "budget=300")
    documents = {one["trajectory_id"]: one for one in exported(command, folder)}
    kinds = set()
    for episode, _ in RunFolder(folder).episodes():
        units = (*episode.trajectory.units, *episode.trajectory.reply)
        document = documents[episode.case]
        steps = [step for step in document["steps"] if step["source"] == "agent"]
        assert [facts(step) for step in steps] == [known(unit) for unit in units]
        events = TypeAdapter(list[Event]).validate_python(document["extra"]["log"])
        assert Trajectory.replay(events) == episode.trajectory
        kinds |= {unit.kind for unit in units}
    assert {"generated", "recorded", "inserted"} & kinds == kinds - {"signal"}


def facts(step: dict[str, Any]) -> tuple[Any, ...]:
    extra, metrics = step["extra"], step.get("metrics", {})
    text = step.get("reasoning_content") or step["message"]
    ids = metrics.get("completion_token_ids", extra.get("token_ids"))
    return text, extra["seat"], extra["kind"], extra["reason"], extra["phase"], ids


def known(unit: Unit) -> tuple[Any, ...]:
    ids = None if unit.ids is None else [*unit.ids]
    return unit.text, unit.author, unit.kind, unit.why, unit.phase, ids


def test_a_solo_run_comes_back_as_recordings(command: Command, launched: Any) -> None:
    folder = played(command, *SOLO, "questions.count=2")
    documents = exported(command, folder)
    said = command("import", "back", str(folder / "export"), "--from", "atif")
    assert (said.status, said.err) == (0, "")
    lines = Path("runs/banks/back/traces.jsonl").read_text(encoding="utf-8").splitlines()
    recordings = [json.loads(line)["recording"] for line in lines]
    episodes = [episode.trajectory for episode, _ in RunFolder(folder).episodes()]
    assert [one["text"] for one in recordings] == [one.thinking for one in episodes]
    assert [one["answer"] for one in recordings] == [one.answer for one in episodes]
    assert {one["model"] for one in recordings} == {"pocket/plain"}
    verdicts = [one["extra"]["verdict"] == "correct" for one in documents]
    assert [one["correct"] for one in recordings] == verdicts


def test_a_trajectory_of_two_authors_is_left_out_by_name(command: Command, kept: Any) -> None:
    exported(command, kept.folder)
    said = command("import", "back", str(kept.folder / "export"), "--from", "atif")
    assert said.status == 1
    assert "has 2 authors (main, partner)" in said.err


def document(**changes: Any) -> dict[str, Any]:
    """Return a document of another tool: two steps, and nothing of collab's own."""
    steps = [
        {"step_id": 1, "source": "user", "message": "What is 1 + 2?"},
        {"step_id": 2, "source": "agent", "reasoning_content": "1 + 2 = 3.", "message": "3"},
    ]
    agent = {"name": "other", "version": "1", "model_name": "m"}
    return {"schema_version": "ATIF-v1.6", "agent": agent, "steps": steps, **changes}


def test_a_document_of_another_tool_is_a_trace() -> None:
    row = trace_row(document())
    assert (row["question"], row["reasoning"], row["response"]) == (
        "What is 1 + 2?",
        "1 + 2 = 3.",
        "3",
    )
    assert (row["model"], row["finished"], row["correct"]) == ("m", True, None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": None}, "no ATIF document"),
        ({"steps": 3}, "no list of steps"),
        ({"steps": []}, "0 user messages"),
        ({"steps": [{"source": "user", "message": "?"}]}, "0 authors"),
        ({"steps": [{"source": "user", "message": [{"type": "image"}]}]}, "no text"),
        (
            {
                "steps": [
                    {"source": "user", "message": "?"},
                    {"step_id": 2, "source": "agent", "message": "", "tool_calls": [{}]},
                ]
            },
            "uses tools in step 2",
        ),
        (
            {
                "steps": [
                    {"source": "user", "message": "?"},
                    {"step_id": 2, "source": "agent", "message": "x", "llm_call_count": 0},
                ]
            },
            "step 2 that no model wrote",
        ),
    ],
)
def test_a_document_that_is_no_solo_trace_says_why(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRow, match=says):
        trace_row(document(**changes))


def played(command: Command, *words: str) -> Path:
    said = command("run", *words)
    assert said.status == 0, said.err
    (manifest,) = Path("runs").rglob("manifest.json")
    return manifest.parent
