"""`collab launch` serves a model until it is stopped, for every command of the same user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from collab.endpoints.owner import OWNER
from tests.cli.conftest import Command, until_ctrl_c


def test_a_server_runs_by_hand_until_ctrl_c_and_runs_use_it(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    env = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    env.pop(OWNER, None)  # as a shell's command, not a part of these tests
    with until_ctrl_c("launch", "model=pocket_plain", cwd=tmp_path, env=env) as said:
        assert re.search(r"^plain is served at http://127\.0\.0\.1:\d+/v1 \(log: ", said)
        play = ("play", "question=1 + 1?", "budget=40", "model@team.main=pocket_plain")
        played = subprocess.run(
            [sys.executable, "-m", "collab", *play],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "tokens" in played.stdout, played.stderr
        logs = list((tmp_path / "tmp").glob("collab-servers-*/*/*.log"))
        assert len(logs) == 1  # the run started none
    assert list((tmp_path / "tmp").glob("collab-servers-*/*")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=recording"], "nothing to launch (no model)"),
        (["model=vllm", "model.id=o/m", "model.launch=null"], "nothing to launch ('o/m')"),
        (["model=pocket_plain", "model.nonsense=1"], "there is no setting 'team.main.nonsense'"),
    ],
)
def test_what_cannot_be_launched_is_told(command: Command, words: list[str], said: str) -> None:
    assert said in command("launch", *words).error
