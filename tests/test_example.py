"""The example of the Python API runs as a script does, on a shipped model."""

import subprocess
import sys
from pathlib import Path

import pytest

import collab

EXAMPLE = Path(__file__).parents[1] / "examples" / "recoverability.py"


def test_it_has_at_most_15_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 15


@pytest.mark.usefixtures("launched")
def test_it_plays_a_policy_of_its_own_and_plots_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code = EXAMPLE.read_text(encoding="utf-8")
    small = code.replace("budget=400", "budget=200, questions={'count': 3}")
    (tmp_path / "example.py").write_text(small, encoding="utf-8")
    command = [sys.executable, "example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    drawn = [tmp_path / line for line in done.stdout.splitlines()]
    assert {path.name for path in drawn} >= {"solved-by-at.png", "solved-by-at.svg"}
    assert all(path.stat().st_size > 1000 for path in drawn)
    (run,) = (collab.load(path.parent) for path in tmp_path.glob("runs/run/*/manifest.json"))
    assert (run.state, run.path.name.split("-")[1]) == ("finished", "doubter")
    units = [unit for _, trajectory in run.trajectories() for unit in trajectory.units]
    assert "Is that right?\n" in [unit.text for unit in units]
