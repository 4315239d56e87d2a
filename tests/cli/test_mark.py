"""The key by which own runs are known again."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from collab.app.mark import SIZE, NoKey, key_file, mark_of

CONFIG = {"name": "x", "shares": (0.2, 0.4), "at": {1: None}}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "collab" / "key"


def test_the_key_is_this_users_alone_and_made_once(state: Path) -> None:
    first = mark_of(CONFIG)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert len(state.read_bytes()) == SIZE
    assert first == mark_of({**CONFIG, "shares": [0.2, 0.4], "at": {"1": None}})
    assert first != mark_of({**CONFIG, "name": "y"})
    assert [path.name for path in state.parent.iterdir()] == ["key"]


def test_another_key_makes_another_mark(state: Path) -> None:
    first = mark_of(CONFIG)
    state.unlink()
    assert mark_of(CONFIG) != first


def test_processes_that_start_at_once_have_one_key(state: Path) -> None:
    code = "from collab.app.mark import mark_of; print(mark_of({}))"
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0].strip() for process in started} == {mark_of({})}


def test_a_key_that_others_can_read_makes_no_mark(state: Path) -> None:
    assert mark_of(CONFIG)
    state.chmod(0o640)
    assert mark_of(CONFIG) == ""
    state.chmod(0o600)
    state.write_bytes(b"short")
    assert mark_of(CONFIG) == ""
    state.unlink()
    state.symlink_to(os.devnull)
    assert mark_of(CONFIG) == ""


def test_without_a_place_for_the_key_there_is_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert mark_of(CONFIG) == ""


def test_a_key_is_never_looked_for_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", "here")
    with pytest.raises(NoKey, match="no home directory"):
        key_file()
