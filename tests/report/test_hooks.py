"""Hooks follow a run and never harm it; real trackers hold what the run found."""

import importlib.util
import logging
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collab.core.settings import Settings
from collab.core.trajectory import Trajectory
from collab.episode.engine import Episode
from collab.report.hooks import EndedRun, RunHooks, StartedRun
from collab.report.hooks.calls import HookCalls
from collab.report.hooks.metrics import flat, table_metrics
from collab.report.hooks.mlflow import MlflowHooks
from collab.report.hooks.trackio import TrackioHooks
from collab.report.hooks.wandb import WandbHooks
from collab.scenarios.base import Score


class Recorder(Settings):
    """Keeps what it is told."""

    calls: list[tuple[str, Any]] = []  # noqa: RUF012 - pydantic copies it

    def run_started(self, run: StartedRun) -> None:
        self.calls.append(("started", run.name))

    def episode_ended(self, episode: Episode, score: Score) -> None:
        self.calls.append(("episode", episode.case))

    def table_changed(self, cells: Mapping[str, str]) -> None:
        self.calls.append(("table", dict(cells)))

    def run_ended(self, run: EndedRun) -> None:
        self.calls.append(("ended", run.state))


class Broken(Recorder):
    """Fails whenever it is called."""

    def run_started(self, run: StartedRun) -> None:
        raise ValueError("no server at http://me:secret@tracker")

    def episode_ended(self, episode: Episode, score: Score) -> None:
        raise ValueError("no run")


class Hanging(Recorder):
    """Never returns by itself."""

    def run_started(self, run: StartedRun) -> None:
        HELD.wait()


HELD = threading.Event()
START = StartedRun("run/solo-1", "Solo", Path("runs/run/solo-1"), {"team": {"main": {"id": "m"}}})
END = EndedRun("finished", 2, {})


def follow(hooks: Mapping[str, RunHooks], grace: float = 60.0) -> None:
    """Report a run of two episodes, of which the second is wrong."""
    calls = HookCalls(hooks, grace=grace)
    calls.started(START)
    for number, verdict in enumerate(("correct", "wrong")):
        case = f"q{number}/0"
        score = Score(case, f"q{number}", verdict, tokens=40)  # type: ignore[arg-type]  # a verdict
        calls.episode(Episode(case, Trajectory(), "answered"), score)
    calls.ended(END)


def test_a_hook_is_called_in_the_order_of_the_run() -> None:
    hook = Recorder()
    follow({"mine": hook})
    kinds = [kind for kind, _ in hook.calls]
    assert (kinds[0], kinds[-1]) == ("started", "ended")
    assert [said for kind, said in hook.calls if kind == "episode"] == ["q0/0", "q1/0"]
    tables = [said for kind, said in hook.calls if kind == "table"]
    assert tables[-1]["n"] == "2"
    assert tables[-1]["solved"].startswith("50 ")


def test_episodes_of_earlier_starts_count_in_the_table_only() -> None:
    hook = Recorder()
    calls = HookCalls({"mine": hook}, [Score("q/0", "q", "correct")])
    calls.started(START)
    calls.ended(END)
    assert [kind for kind, _ in hook.calls] == ["started", "table", "ended"]


def test_an_error_of_a_hook_is_logged_once_and_other_hooks_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder()
    with caplog.at_level(logging.WARNING):
        follow({"broken": Broken(), "mine": hook})
    (line,) = caplog.messages
    assert line.startswith("hook broken failed (logged once): ValueError: no server at http://")
    assert "secret" not in line
    assert hook.calls[-1] == ("ended", "finished")


def test_a_run_does_not_wait_for_a_hook_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    follow({"slow": Hanging()}, grace=0.01)
    HELD.set()
    assert caplog.messages == ["hook slow has not finished; the run does not wait for it"]


def test_cells_become_numbers_with_the_ends_of_their_intervals() -> None:
    cells = {"solved": "74 [66,100]", "difference": "−73 [−82, −64]", "tokens": "1,204", "x": "–"}
    assert table_metrics(cells) == {
        "table/solved": 74,
        "table/solved/low": 66,
        "table/solved/high": 100,
        "table/difference": -73,
        "table/difference/low": -82,
        "table/difference/high": -64,
        "table/tokens": 1204,
    }


def test_settings_have_their_full_names() -> None:
    assert flat({"team": {"main": {"id": "m"}}, "x": None}) == {"team.main.id": "m"}


def test_trackio_holds_the_episodes_and_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackio = installed("trackio")
    monkeypatch.setattr(trackio.sqlite_storage, "TRACKIO_DIR", tmp_path)
    follow({"trackio": TrackioHooks(project="mine")})
    (file,) = tmp_path.glob("mine*.db")
    with sqlite3.connect(file) as database:
        rows = [str(row) for row in database.execute("select metrics from metrics")]
    assert sum("episode/correct" in row for row in rows) == 2
    assert any("table/solved/low" in row for row in rows)


def test_mlflow_holds_the_episodes_and_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = installed("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = (tmp_path / "ml").as_uri()
    follow({"mlflow": MlflowHooks(experiment="mine", tracking_uri=place)})
    client = mlflow.MlflowClient(tracking_uri=place)
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run/solo-1")
    assert run.data.params["team.main.id"] == "m"
    assert run.data.metrics["table/solved"] == 50
    history = client.get_metric_history(run.info.run_id, "episode/correct")
    assert [metric.value for metric in history] == [1, 0]


def test_wandb_writes_a_local_run_when_offline(tmp_path: Path) -> None:
    installed("wandb")
    calls = HookCalls({"wandb": WandbHooks(mode="offline")})
    calls.started(StartedRun("run/solo-1", "Solo", tmp_path, {}))
    calls.ended(END)
    assert [*tmp_path.glob("wandb/offline-run-*/run-*.wandb")]


def installed(name: str) -> Any:  # any: a package without types
    """Import a tracker, or skip the test by its name."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)
