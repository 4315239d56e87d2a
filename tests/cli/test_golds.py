"""A run whose gold answers cannot be used stops before its first request, or skips them."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench


def words(bench: Any, tmp_path: Path) -> list[str]:
    file = tmp_path / "mine.jsonl"
    rows = [("What is 2 + 2?", "4"), ("Who is it?", None), ("What is 3 + 3?", "6"), ("And?", "")]
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows))
    asked = ["questions=jsonl", f"questions.path={file}", f"runs={tmp_path / 'runs'}"]
    alone = ["scenario=solo", "policy=solo", "team=solo", "scenario.samples=1", "budget=90"]
    return [*bench.words, *alone, *asked]


def test_null_and_empty_gold_answers_stop_a_run_before_its_first_request(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>\\boxed{4}") as bench:
        said = command("run", *words(bench, tmp_path))
        assert bench.server.requests == []
    assert said.status == 1
    assert said.err.startswith("error: 2 of 4 gold answers cannot be used (")
    assert "mine.jsonl:2: it has no gold answer (null); " in said.err
    assert "mine.jsonl:4: the gold answer '' cannot be read" in said.err
    assert said.err.rstrip().endswith("questions.unreadable=skip")


def test_they_may_be_skipped_and_are_counted(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>\\boxed{4}") as bench:
        said = command("run", *words(bench, tmp_path), "questions.unreadable=skip")
    assert said.status == 0
    assert "2 of 4 questions skipped: their gold answers cannot be used (" in said.out
    assert "done: 2 episodes" in said.out
    (manifest,) = (tmp_path / "runs").rglob("questions.jsonl")
    assert "mine.jsonl" not in manifest.read_text(), "a run holds no paths of this machine"
