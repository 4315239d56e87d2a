"""Send a run to trackio, a local tracker (`pip install '.[trackio]'`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import PrivateAttr

from collab.core.settings import Settings
from collab.episode.engine import Episode
from collab.report.hooks import EndedRun, StartedRun
from collab.report.hooks.metrics import episode_metrics, flat, table_metrics
from collab.scenarios.base import Score


class TrackioHooks(Settings):
    """Send the episodes and the main results to trackio; a restart continues the same run."""

    project: str = "collab"
    """The project in trackio."""
    space: str | None = None
    """A Space of the Hugging Face hub that shows the project; null: only local files."""

    _run: Any = PrivateAttr(None)  # any: trackio has no types

    def run_started(self, run: StartedRun) -> None:
        """Open the run in trackio."""
        import trackio

        self._run = trackio.init(
            project=self.project,
            name=run.name.replace("/", "-"),
            space_id=self.space,
            config={"title": run.title, "folder": str(run.folder), **flat(run.config)},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def episode_ended(self, episode: Episode, score: Score) -> None:
        """Log the numbers of the episode."""
        self._run.log({"case": episode.case, **episode_metrics(episode, score)})

    def table_changed(self, cells: Mapping[str, str]) -> None:
        """Log the main results."""
        self._run.log(table_metrics(cells))

    def run_ended(self, run: EndedRun) -> None:
        """Log the counts and close the run."""
        self._run.log({"run/episodes": run.episodes, "run/failed": len(run.failures)})
        self._run.finish()
