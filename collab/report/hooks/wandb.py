"""Send a run to Weights & Biases (`pip install '.[wandb]'`)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

from pydantic import PrivateAttr

from collab.core.settings import Settings
from collab.episode.engine import Episode
from collab.report.hooks import EndedRun, StartedRun
from collab.report.hooks.metrics import episode_metrics, flat, table_metrics
from collab.scenarios.base import Score


class WandbHooks(Settings):
    """Send the episodes and the main results to Weights & Biases; a restart continues the run."""

    project: str = "collab"
    """The project."""
    entity: str | None = None
    """The user or team that owns the project; null: the default of the account."""
    mode: Literal["online", "offline"] = "online"
    """offline: write local files only, for `wandb sync`."""

    _run: Any = PrivateAttr(None)  # any: wandb is not installed where types are checked

    def run_started(self, run: StartedRun) -> None:
        """Open the run; its id is made of the run's name and folder."""
        import wandb

        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(run.folder),
            id=sha256(f"{run.name} {run.folder}".encode()).hexdigest()[:16],
            resume="allow",
            name=run.name,
            config={"title": run.title, "folder": str(run.folder), **flat(run.config)},
            settings=wandb.Settings(console="off", disable_git=True, disable_code=True),
        )

    def episode_ended(self, episode: Episode, score: Score) -> None:
        """Log the numbers of the episode."""
        self._run.log({"case": episode.case, **episode_metrics(episode, score)})

    def table_changed(self, cells: Mapping[str, str]) -> None:
        """Log the main results, and keep the last ones as the summary."""
        self._run.log(table_metrics(cells))
        self._run.summary.update({f"cell/{name}": cell for name, cell in cells.items()})

    def run_ended(self, run: EndedRun) -> None:
        """Log the counts and close the run."""
        self._run.summary.update({"run/episodes": run.episodes, "run/state": run.state})
        self._run.finish(exit_code=0 if run.state == "finished" else 1)
