"""Sweeps of the shell whose jobs run in other processes.

Hydra's own launcher plays one job after the other in the process of the command. Other launchers
(joblib, submitit, Ray) start processes. There, a job prints one line when it begins and one when it
ends, and the command prints the sweep's table when all jobs have ended.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from traceback import walk_tb
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from collab.config.plugins import open_conf_folders
from collab.core.release import extra
from collab.errors import ConfigError, RunError
from collab.report.trajectory import safe

LAUNCHERS = ("joblib", "ray", "submitit")

_launched: list[Path] = []
"""The folders of sweeps that this process gave to a launcher."""
_printed: list[Path] = []
"""The folders where the jobs of such sweeps print, if not here."""


class Sweeps(Callback):
    """Records whether the jobs of a sweep run in other processes."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # any: Hydra's own
        """Record the folder of a sweep that goes to other processes."""
        if not config.hydra.launcher._target_.endswith(".BasicLauncher"):
            _launched.append(Path(config.runs) / config.name)
            if "submitit_folder" in config.hydra.launcher:
                _printed.append(Path(config.hydra.launcher.submitit_folder).parent)


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


def take_launched() -> list[Path]:
    """Return the folders of the sweeps that ran in other processes, and forget them."""
    _printed.clear()
    folders = _launched[::-1]
    _launched.clear()
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
