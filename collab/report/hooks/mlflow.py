"""Send a run to MLflow (`pip install '.[mlflow]'`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import PrivateAttr

from collab.core.settings import Settings
from collab.episode.engine import Episode
from collab.report.hooks import EndedRun, StartedRun
from collab.report.hooks.metrics import episode_metrics, flat, table_metrics
from collab.scenarios.base import Score

STATES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
LONGEST = 6000
"""Characters that MLflow accepts in a parameter."""


class MlflowHooks(Settings):
    """Send the episodes and the main results to MLflow. Each start of a run is a run in MLflow."""

    experiment: str = "collab"
    """The experiment in MLflow; it is created if it does not exist."""
    tracking_uri: str | None = None
    """The server or the folder of MLflow; null: MLFLOW_TRACKING_URI, or MLflow's default."""

    _client: Any = PrivateAttr(None)  # any: mlflow is not installed where types are checked
    _id: str = PrivateAttr("")
    _step: int = PrivateAttr(0)

    def run_started(self, run: StartedRun) -> None:
        """Create the run, with the settings as parameters."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        known = self._client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else self._client.create_experiment(self.experiment)
        tags = {"collab.folder": str(run.folder), "collab.title": run.title}
        self._id = self._client.create_run(place, tags=tags, run_name=run.name).info.run_id
        self._step = 0
        settings = [Param(key, value[:LONGEST]) for key, value in flat(run.config).items()]
        for first in range(0, len(settings), 100):
            self._client.log_batch(self._id, params=settings[first : first + 100])

    def episode_ended(self, episode: Episode, score: Score) -> None:
        """Log the numbers of the episode."""
        self._step += 1
        self._log(episode_metrics(episode, score))

    def table_changed(self, cells: Mapping[str, str]) -> None:
        """Log the main results."""
        self._log(table_metrics(cells))

    def run_ended(self, run: EndedRun) -> None:
        """Log the counts and close the run."""
        self._log({"run/episodes": run.episodes, "run/failed": len(run.failures)})
        self._client.set_terminated(self._id, STATES[run.state])

    def _log(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._client.log_metric(self._id, name, value, step=self._step)
