"""Every experiment in the box runs, small, and comes to its tables and figures."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from collab.app.overrides import CONF

Command = Callable[..., Any]  # any: what conftest says a command comes to
FILES = [file for file in (files(CONF) / "experiment").iterdir() if file.name.endswith(".yaml")]
EXPERIMENTS = {file.name.removesuffix(".yaml"): file.read_text() for file in FILES}
CAGED = ("calculator", "code_guidability", "code_recoverability", "solo_code")


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_an_experiment_comes_to_its_tables_and_figures(
    command: Command, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("matplotlib")
    if name in CAGED:
        request.getfixturevalue("bwrap")
    words = [f"experiment={name}", "questions.count=4", f"runs={tmp_path}"]
    if name == "openings":
        words += ["scenario.length=0.2"]  # with 0.4 the last point is refused
    if "scripted" in EXPERIMENTS[name] or "mixed" in name:
        assert command("doctor", *words).status == 0
    said = command("run", *words)
    assert (said.status, said.err) == (0, "")
    shown = command("report", str(tmp_path / name), "--figures")
    assert shown.status == 0, shown.err
    assert re.search(r" \d+ \[\d+,\d+\] ", shown.out)
    runs = [manifest.parent for manifest in tmp_path.rglob("manifest.json")]
    assert len(runs) == said.out.count("\ndone: ")
    assert all((run / "report.html").exists() and list(run.glob("figures/*.svg")) for run in runs)
