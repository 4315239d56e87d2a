from pathlib import Path
from typing import Any

import pytest

from collab.cli.report import main
from collab.core.design import Design
from collab.core.trajectory import Question, Trajectory
from collab.episode.engine import Case, Episode
from collab.policies.solo import Solo
from collab.report.draw import draw, draw_panels
from collab.report.figure import (
    accuracy_against_cost,
    checkpoint_panel,
    recoverability_against_benchmark,
    recovery_by_point,
)
from collab.report.run_json import checkpoint_panels, figures, figures_of_many
from collab.report.runs import RunSummary, jobs
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def scored(case: str, correct: bool, arm: str, at: float = 0.0, tokens: int = 10) -> Score:
    design = Design(arm=arm, at=at, pair=case)
    return Score(case, "q", "correct" if correct else "wrong", design, tokens=tokens)


TWIN = (
    scored("a", False, "steer", 0.0),
    scored("b", True, "steer", 0.4),
    scored("c", True, "none", 0.0),
    scored("d", True, "none", 0.4),
)


def test_each_arm_is_a_series_with_its_points_and_intervals() -> None:
    figure = recovery_by_point("at", TWIN)
    assert [one.name for one in figure.series] == ["steered", "no steer"]
    assert [(p.x, p.y, p.n) for p in figure.series[0].points] == [(0.0, 0.0, 1), (0.4, 100.0, 1)]
    assert figure.alt.endswith("steered (0: 0 %, 0.4: 100 %); no steer (0: 100 %, 0.4: 100 %)")


def test_the_papers_numbers_stand_beside_a_model_that_it_has() -> None:
    printed = recovery_by_point("at", TWIN, "Qwen3-1.7B").series[-1]
    assert printed.name == "published, Qwen3-1.7B"
    assert next((p.x, p.y, p.n) for p in printed.points) == (0.0, 97.0, 200)


def test_models_stand_at_what_they_solve_alone() -> None:
    alone = [scored("x", True, "solo"), scored("y", False, "solo")]
    (one,) = recoverability_against_benchmark({"m": (alone, TWIN[:2])}).series
    assert [(p.x, p.y, p.name) for p in one.points] == [(50.0, 50.0, "m")]


def test_every_figure_is_written_as_png_and_svg_with_its_description(tmp_path: Path) -> None:
    figure = accuracy_against_cost({"cheap $x$": TWIN[:2], "dear": TWIN[2:]})
    png, svg = draw(figure, tmp_path / "figures")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "cheap $x$" in svg.read_text()


def test_checkpoints_stand_in_their_order_panel_by_panel(tmp_path: Path) -> None:
    panel = checkpoint_panel("m", {"step 10": TWIN, "step 2": TWIN[:2]})
    assert [p.x for p in panel.series[0].points] == ["step 10", "step 2"]
    written = draw_panels([panel, panel], tmp_path / "checkpoints", "two panels")
    assert [path.name for path in written] == ["checkpoints.png", "checkpoints.svg"]


def test_the_figures_of_a_run_have_its_controls(hostile: RunFolder) -> None:
    by, cost = figures(RunSummary(hostile))
    assert [one.name for one in by.series] == ["steered", "no steer", "published, Qwen3-1.7B"]
    assert [one.name for one in cost.series] == ["steered", "no steer"]


def folder_of(path: Path, decides: dict[str, Any], *scores: Score) -> None:
    with RunFolder.enter(path, decides, {}) as folder:
        folder.write_status(RunStatus("a run", "at", len(scores)))
        for score in scores:
            case = Case(score.case, Question("q", (), "7"), Solo())
            folder.add(Episode(score.case, Trajectory(), "answered"), case, score)


def test_many_runs_have_figures_of_their_own(tmp_path: Path) -> None:
    for name, scenario, revision, scores in (
        ("alone", "Solo", "step 1", [scored("x", True, "solo")]),
        ("one", "Recoverability", "step 1", TWIN),
        ("two", "Recoverability", "step 2", TWIN),
    ):
        target = {"_target_": f"collab.scenarios.{scenario}"}
        seat = {"id": "m", "revision": revision}
        decides = {"scenario": target, "policy": {"_target_": "p.P"}, "team": {"main": seat}}
        folder_of(tmp_path / name, decides, *scores)
    found = jobs(tmp_path)
    cost, benchmark = figures_of_many(found)
    assert [one.name for one in cost.series] == ["m · solved", "m · steered", "m · no steer"]
    assert [(p.x, p.y) for one in benchmark.series for p in one.points] == [(100.0, 50.0)]
    (panel,) = checkpoint_panels(found)
    assert (panel.title, [p.x for p in panel.series[0].points]) == (
        "m, Recoverability",
        ["step 1", "step 2"],
    )
    assert main([str(tmp_path), "--figures"]) == 0
    assert (tmp_path / "figures" / "checkpoints.png").exists()
    assert (tmp_path / "one" / "figures" / "solved-by-at.svg").exists()
