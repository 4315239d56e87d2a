import csv
from pathlib import Path
from typing import Any

import pytest

from collab.core.cost import Cost
from collab.core.design import Design
from collab.core.trajectory import Message, Question, Trajectory, Unit, Wrote
from collab.episode.engine import Case, Episode
from collab.errors import RunError
from collab.policies.solo import Solo
from collab.report.export import FileFormat, export
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

ASKED = Question("q", (Message("user", "q?"),), "7")


def made(path: Path, *texts: str, at: Any = 0.5) -> RunFolder:
    with RunFolder.enter(path, {}, {}) as folder:
        folder.ask([ASKED])
        for number, text in enumerate(texts):
            case = Case(f"c{number}", ASKED, Solo())
            thought = Unit("main", text, "generated", "=why", tokens=3)
            answer = Unit("main", "7", "generated", phase="answer", tokens=1)
            trajectory = Trajectory().add(Wrote(thought)).add(Wrote(answer))
            costs = {"main": {"u0": Cost(1, 10, 0, 4, 0.5)}}
            episode = Episode(case.id, trajectory, "answered", costs=costs)
            label = at if number == 0 else 1
            folder.add(
                episode,
                case,
                Score(case.id, "q", "correct", *Design.split({"at": label}), tokens=4),
            )
    return folder


def rows(path: Path, form: FileFormat) -> list[dict[str, Any]]:
    if form == "csv":
        with path.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    parquet = pytest.importorskip("pyarrow.parquet")
    table: list[dict[str, Any]] = parquet.read_table(path.with_suffix(".parquet")).to_pylist()
    return table


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_run_is_three_tidy_tables(tmp_path: Path, form: FileFormat) -> None:
    folder = made(tmp_path / "run", "So 7.", "Hm \udc80.")
    assert list(export(folder, tmp_path / "to", form)) == [1, 2]
    first, second = rows(tmp_path / "to/episodes", form)
    kind = str if form == "csv" else lambda value: value
    assert (first["case"], first["verdict"], first["units"]) == ("c0", "correct", kind(2))
    assert (first["label_at"], second["label_at"]) == (kind(0.5), kind(1.0))
    units = rows(tmp_path / "to/units", form)
    assert [(unit["case"], unit["phase"], unit["text"]) for unit in units] == [
        ("c0", "thinking", "So 7."),
        ("c0", "answer", "7"),
        ("c1", "thinking", "Hm ?."),
        ("c1", "answer", "7"),
    ]
    costs = rows(tmp_path / "to/costs", form)
    assert [(cost["seat"], cost["of"], cost["completion"]) for cost in costs] == [
        ("main", "u0", kind(4))
    ] * 2


def test_what_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    list(export(made(tmp_path / "run", '=HYPERLINK("x")'), tmp_path / "to", "csv"))
    unit, _ = rows(tmp_path / "to/units", "csv")
    assert (unit["text"], unit["why"]) == ('\'=HYPERLINK("x")', "'=why")


def test_a_label_of_two_kinds_is_text(tmp_path: Path) -> None:
    list(export(made(tmp_path / "run", "a", "b", at="none"), tmp_path / "to", "parquet"))
    assert [row["label_at"] for row in rows(tmp_path / "to/episodes", "parquet")] == ["none", "1"]


def test_a_folder_without_a_run_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        list(export(RunFolder(tmp_path / "none"), tmp_path / "to", "csv"))
    assert not (tmp_path / "to").exists()
