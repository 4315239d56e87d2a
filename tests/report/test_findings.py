"""A sweep ends with its tables and with what it found, in sentences made of its numbers."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from collab.core.design import Design
from collab.report.findings import findings
from collab.report.runs import jobs
from collab.report.sweep import print_sweep
from collab.scenarios.base import Score
from tests.report.test_runs import changed, made

RECOVERABILITY: dict[str, Any] = {
    "_target_": "collab.scenarios.recoverability.Recoverability",
    "main": "main",
}
GUIDABILITY: dict[str, Any] = {
    "_target_": "collab.scenarios.guidability.Guidability",
    "main": "main",
    "guides": ["guide"],
}


def twin(solved_after: int, solved_without: int, cases: int = 20) -> list[Score]:
    """Return matched cases of which the first ones are solved."""
    return [
        Score(
            f"{arm}{n}",
            f"q{n}",
            "correct" if n < right else "wrong",
            *Design.split({"arm": arm, "pair": str(n), "level": "easy"}),
        )
        for arm, right in (("steer", solved_after), ("none", solved_without))
        for n in range(cases)
    ]


def run(path: Path, scenario: dict[str, Any], model: str, *scores: Score) -> None:
    team = {"main": {"id": f"maker/{model}"}, "guide": {"id": "maker/strong"}}
    made(path, *scores, decides=changed(scenario=scenario, team=team))


def test_a_decided_difference_is_a_sentence_and_the_other_models_follow(tmp_path: Path) -> None:
    run(tmp_path / "1", RECOVERABILITY, "weak", *twin(9, 10))
    run(tmp_path / "2", RECOVERABILITY, "plain", *twin(1, 18))
    (sentence,) = findings(jobs(tmp_path))
    first, others = sentence.split(" The same for ")
    assert first.startswith(
        "From openings of its own correct thinking, plain goes on to solve 90 %"
    )
    assert " undisturbed and 5 % [" in first
    assert ": −85 points [−" in first
    assert "undecided" not in first
    assert others.startswith("weak: −5 points [")
    assert others.endswith("] (undecided).")


def test_a_guide_is_named(tmp_path: Path) -> None:
    run(tmp_path / "1", GUIDABILITY, "plain", *twin(12, 1))
    (sentence,) = findings(jobs(tmp_path))
    assert "plain solves 5 %" in sentence
    assert "from the start of strong's correct thinking: +55 points [+" in sentence


def test_runs_without_both_arms_find_nothing(tmp_path: Path) -> None:
    run(tmp_path / "1", RECOVERABILITY, "plain", *twin(1, 1)[:20])
    run(tmp_path / "2", {"_target_": "collab.scenarios.solo.SoloScenario"}, "plain", *twin(1, 1))
    assert findings(jobs(tmp_path)) == []


def test_a_sweep_ends_in_few_lines_with_a_picture_and_a_case_to_look_at(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "runs"
    for number, model in enumerate(("plain", "weak", "checking")):
        run(folder / f"r{number}", RECOVERABILITY, model, *twin(1, 18))
        run(folder / f"g{number}", GUIDABILITY, model, *twin(9, 2))
    out = StringIO()
    print_sweep(folder, Console(file=out, width=100, soft_wrap=True), "path/to/collab")
    lines = out.getvalue().splitlines()
    assert len(lines) <= 25
    (picture,) = (line.split(": ")[1] for line in lines if line.startswith("picture: "))
    assert Path(picture).stat().st_size > 10_000
    assert f"a trajectory: path/to/collab show {folder / 'r0'} steer1" in lines
    assert f"the pages:    path/to/collab view {folder}" in lines
