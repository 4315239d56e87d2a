from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]  # any: what conftest says a command comes to


def test_the_tables_of_a_run_are_printed_again(command: Command, finished: Any) -> None:
    said = command("report", str(finished.folder))
    assert (said.status, said.err) == (0, "")
    *shown, state, page = said.out.rstrip().splitlines()
    assert "\n".join(shown) in finished.said.out
    scores = (finished.folder / "scores.jsonl").read_text().splitlines()
    assert state == f"finished, {len(scores)} episodes"
    assert page == f"page: {finished.folder / 'report.html'}"
    assert (finished.folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_runs_of_a_folder_are_listed(command: Command, finished: Any) -> None:
    said = command("ls", str(finished.runs))
    assert (said.status, said.err) == (0, "")
    (line,) = said.out.splitlines()[1:]
    assert line.startswith(str(finished.folder))
    assert "  finished  " in line
    assert "steered " in line


def test_where_there_are_no_runs_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'runs' is no folder" in command("ls").error
    assert "holds no run" in command("report", str(tmp_path)).error


def test_a_run_is_exported(command: Command, finished: Any, tmp_path: Path) -> None:
    said = command("export", str(finished.folder), "--to", str(tmp_path / "to"))
    assert (said.status, said.err) == (0, "")
    scores = (finished.folder / "scores.jsonl").read_text().splitlines()
    assert said.out == f"{len(scores)} episodes in {tmp_path / 'to'}\n"
    assert {path.name for path in (tmp_path / "to").iterdir()} == {
        "episodes.csv",
        "units.csv",
        "costs.csv",
    }
