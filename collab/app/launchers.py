"""Sweeps of the shell, whose jobs may run in other processes.

Hydra's own launcher plays one job after the other in the process of the command. Other launchers
(joblib, submitit, Ray) start processes. There, a job prints one line when it begins and one when it
ends, and the command prints the sweep's table when all jobs have ended.
"""

from __future__ import annotations

import math
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from traceback import walk_tb
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from collab.app.overrides import parsed, values_of
from collab.config.plugins import open_conf_folders
from collab.core.release import extra
from collab.errors import ConfigError, RunError
from collab.report.trajectory import safe

LAUNCHERS = ("joblib", "ray", "submitit")


@dataclass
class Sweep:
    """A sweep that this process began."""

    folder: Path
    """The folder of its runs."""
    values: Mapping[str, int]
    """The number of values that each setting takes."""
    began: float = field(default_factory=time.monotonic)

    def heading(self, number: int, words: Sequence[str]) -> str:
        """Describe a job that begins, with the time left at the speed of the jobs before it.

        Args:
            number: The job's number, from 0.
            words: The words of its command line.
        """
        jobs = math.prod(self.values.values())
        own = [word for word in words if self.values.get(word.partition("=")[0], 1) > 1]
        heading = f"run {number + 1} of {jobs}: {' '.join(own)}"
        if not number:
            return heading
        left = (time.monotonic() - self.began) / number * (jobs - number)
        return f"{heading} (about {timedelta(seconds=round(left))} left)"


_sweeps: list[Sweep] = []
"""The sweeps that this process began."""
_printed: list[Path] = []
"""The folders where the jobs of such sweeps print, if not here."""


class Sweeps(Callback):
    """Records the sweeps that begin, and where their jobs print."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # any: Hydra's own
        """Record a sweep."""
        _sweeps.append(Sweep(Path(config.runs) / config.name, _count_values(config)))
        if "submitit_folder" in config.hydra.launcher:
            _printed.append(Path(config.hydra.launcher.submitit_folder).parent)


def _count_values(config: DictConfig) -> dict[str, int]:
    """Count the values of each setting that a command, or its experiment's file, sweeps over."""
    file = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    words = parsed([*file, *config.hydra.overrides.task])
    return {word.get_key_element(): len(values_of(word)) for word in words}


def current_sweep() -> Sweep | None:
    """Return the sweep of the job that this process plays; None outside of a sweep."""
    return _sweeps[-1] if _sweeps else None


def pass_on(folders: list[str]) -> None:
    """Open outside conf folders here and, by COLLAB_CONF, in every process started from here."""
    named = [*folders, *filter(None, os.environ.get("COLLAB_CONF", "").split(os.pathsep))]
    os.environ["COLLAB_CONF"] = os.pathsep.join(dict.fromkeys(named))
    open_conf_folders()


def begin_job() -> None:
    """Prepare a job in its own process as the command did in its, and print which job begins.

    Raises:
        ConfigError: The command's folder does not exist on this machine.
    """
    hydra = HydraConfig.get()
    try:
        os.chdir(hydra.runtime.cwd)  # a worker of a Ray cluster begins where that was started
    except OSError as error:
        raise ConfigError(
            f"the folder {hydra.runtime.cwd!r}, where the command was given, cannot be entered on "
            f"{platform.node()!r} ({error.strerror}): give the command in a folder that all "
            "machines see"
        ) from None
    open_conf_folders()
    print(f"#{hydra.job.num} {safe(hydra.job.override_dirname)}", flush=True)


def report_first_failure(failed: Exception) -> None:
    """Print why the first job failed, if the sweep's jobs print elsewhere."""
    if _printed:
        print(
            f"error: {failed}; the output of each job is in {_printed[-1]}",
            file=sys.stderr,
        )


def take_sweeps() -> list[Path]:
    """Return the folders of the sweeps that this process began, and forget them."""
    _printed.clear()
    folders = [sweep.folder for sweep in _sweeps[::-1]]
    _sweeps.clear()
    return folders


def explain_launcher(error: Exception) -> Exception:
    """Return a readable error for a launcher's own; any other error is returned unchanged."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    if lacking := re.search(r"hydra_plugins\.hydra_(\w+)_launcher\.", lines[0]):
        return ConfigError(f"this launcher is not installed: {extra(lacking.group(1))}")
    where = _raising_module(error)
    if where in ("submitit.core.utils", "submitit.slurm.slurm") and _package(error) == "submitit":
        return RunError(f"the cluster took no job: {'; '.join(lines)}")
    if _package(error) in LAUNCHERS:
        return RunError(
            f"a job's process died ({lines[0]}): what it sampled is stored; "
            "the same command continues"
        )
    if where.partition(".")[0] in LAUNCHERS and "Remote" not in repr(error.__cause__):
        return ConfigError(
            f"the launcher does not start: {lines[0].rstrip('.')}; "
            "change its settings, hydra.launcher.…"
        )
    return error


def _package(error: Exception) -> str:
    """Return the package that defines an error's class."""
    return type(error).__module__.partition(".")[0]


def _raising_module(error: Exception) -> str:
    """Return the module whose code raised an error."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
