"""The package in examples/protocol is found by its entry point, composes and keeps the contract."""

import subprocess
import sys
from pathlib import Path

import pytest

from collab.app.compose import composed
from collab.config.plugins import open_conf_folders

PACKAGE = Path(__file__).parents[1] / "examples" / "protocol"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it on the path with the entry point that an installation writes."""
    info = tmp_path / "mylab-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[collab.conf]\nmylab = mylab.conf\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(PACKAGE)


@pytest.mark.usefixtures("installed")
def test_its_policy_and_its_scenario_compose() -> None:
    words = ["policy=mylab_arbiter", "scenario=mylab_by_length", "team=judged"]
    try:
        built = composed(words)
    finally:
        open_conf_folders()
    assert (type(built.policy).__name__, built.scenario.by) == ("Arbiter", "length")


def test_its_own_tests_pass() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=PACKAGE,
        env={"PYTHONPATH": str(PACKAGE), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
