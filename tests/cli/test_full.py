"""A disk that is full, and a folder that cannot be written: a clear stop, and nothing is lost."""

import json
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
SIZES = (2_000, 20_000, 50_000)
"""Bytes that a file may have: too few for the manifest, for a new store, for a store's log."""


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file grow beyond a size (bytes), as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def words(bench: Any, runs: Path) -> list[str]:
    """Return a run of solo draws on three questions of choice."""
    questions = runs.parent / "questions.jsonl"
    rows = ({"question": f"{n}?", "options": ["x", "y"], "answer": "A"} for n in range(3))
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["questions=jsonl", f"questions.path={questions}", "questions.grader=choice"]
    alone = ["scenario=solo", "scenario.samples=4", "policy=solo", "team=solo", "budget=400"]
    return ["run", *alone, *asked, *bench.words, "team.main.revision=v1", f"runs={runs}"]


def scores(runs: Path) -> Any:
    (manifest,) = runs.glob("run/*/manifest.json")
    return RunFolder(manifest.parent).scores()


def test_a_run_on_a_full_disk_stops_and_goes_on_when_there_is_space(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm. So it is.</think>\\boxed{A}") as bench:
        command_line = words(bench, tmp_path / "full")
        for size in SIZES:
            with room(size):
                stopped = command(*command_line)
            assert stopped.status == 1
            assert stopped.error.startswith("error: ")
        whole = command(*command_line)
        asked = Counter(
            (tuple(one.body["prompt"]), one.body["seed"] + nth)
            for one in bench.server.generating
            if one.body["max_tokens"] > 1
            for nth in range(one.body["n"])
        )
        calm = command(*words(bench, tmp_path / "calm"))
    assert (whole.status, whole.err) == (0, "")
    assert calm.status == 0
    assert len(asked) == 12
    assert scores(tmp_path / "full") == scores(tmp_path / "calm")


def test_a_place_that_cannot_be_written_is_named_before_the_first_request(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with scripted() as bench:
        said = command(*words(bench, tmp_path / "runs"), f"runs={tmp_path}/file/runs")
        assert not bench.server.generating
    assert f"cannot write '{tmp_path}/file/runs" in said.error
