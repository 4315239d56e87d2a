"""The hooks of a run's config are called, and are no part of its digest or its record."""

import json
from pathlib import Path

import pytest

import collab
from collab.app.compose import composed
from collab.app.session import decides
from collab.errors import ConfigError

pytestmark = pytest.mark.usefixtures("launched")
SOLO = ("scenario=solo", "policy=solo", "team=solo", "scenario.samples=1", "budget=90")
MINE = """
import json
from pathlib import Path
from collab import Settings

class Mine(Settings):
    file: Path
    def _add(self, *said):
        with self.file.open("a") as out:
            print(json.dumps(said), file=out)
    def run_started(self, run): self._add("started", run.name, run.config["budget"])
    def episode_ended(self, episode, score): self._add("episode", score.verdict)
    def table_changed(self, cells): self._add("table", dict(cells))
    def run_ended(self, run): self._add("ended", run.state, run.episodes)
"""


def test_a_hook_from_a_conf_folder_follows_the_run_and_is_not_in_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own/hooks").mkdir(parents=True)
    (tmp_path / "own/followed_by.py").write_text(MINE)
    out = tmp_path / "out.jsonl"
    (tmp_path / "own/hooks/mine.yaml").write_text(
        f"# @package hooks.mine\n_target_: followed_by.Mine\nfile: {out}\n"
    )
    plain = collab.run(*SOLO, progress=False, questions={"count": 1})
    words = (*SOLO, "questions.count=2", "hooks=mine", "name=followed")
    run = collab.run(*words, config_dirs=["own"], progress=False)
    said = [json.loads(line) for line in out.read_text().splitlines()]
    assert said[0] == ["started", f"followed/{run.path.name}", 90]
    assert [one[0] for one in said].count("episode") == 2
    assert said[-1] == ["ended", "finished", 2]
    assert "followed_by" not in (run.path / "manifest.json").read_text()
    assert plain.path.parent.name == "run"


def test_hooks_do_not_change_the_digest_of_a_run() -> None:
    assert decides(composed([*SOLO, "hooks=[trackio,mlflow]"])) == decides(composed(SOLO))


def test_a_class_that_is_no_hook_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hooks\.trackio\._target_=.*is no RunHooks"):
        composed([*SOLO, "hooks=trackio", "hooks.trackio._target_=collab.policies.solo.Solo"])


def test_a_conf_folder_cannot_send_results_to_a_tracker_of_its_choice(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/theirs.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hooks: mlflow\n"
        "hooks:\n  mlflow:\n    tracking_uri: http://elsewhere.example\n"
    )
    with pytest.raises(ConfigError, match="send the results to mlflow"):
        composed(["experiment=theirs"], [tmp_path])
