"""A sweep whose jobs run in processes of their own: what they are told, and what they tell.

Hydra's own launcher plays one job after the other in the process that took the command. Others
(joblib, submitit, Ray) start processes: there, a job prints one line when it begins and one when it
ends, and the command prints the sweep's table when all have ended.
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
from rich.console import Console

from collab.config.plugins import open_doors
from collab.core.release import extra
from collab.errors import ConfigError, RunError
from collab.report.runs import runs_table, survey
from collab.report.tables import print_whole
from collab.report.trajectory import safe

LAUNCHERS = ("joblib", "ray", "submitit")

_elsewhere: list[Path] = []
"""The folders of sweeps that this process handed to others."""
_printed: list[Path] = []
"""The folders where the jobs of such sweeps print, if that is not here."""


class Sweeps(Callback):
    """Notes whether a sweep's jobs run elsewhere."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # any: Hydra's own
        """Note the folder of a sweep that is handed to other processes."""
        if not config.hydra.launcher._target_.endswith(".BasicLauncher"):
            _elsewhere.append(Path(config.runs) / config.name)
            if "submitit_folder" in config.hydra.launcher:
                _printed.append(Path(config.hydra.launcher.submitit_folder).parent)


def hand_on(folders: list[str]) -> None:
    """Open outside conf folders here, and in the processes that this one starts."""
    named = [*folders, *filter(None, os.environ.get("COLLAB_CONF", "").split(os.pathsep))]
    os.environ["COLLAB_CONF"] = os.pathsep.join(dict.fromkeys(named))
    open_doors()


def begin_elsewhere() -> None:
    """Do in a job's own process what the command did in its, and say which job begins.

    Raises:
        ConfigError: The command's folder is not on this machine.
    """
    hydra = HydraConfig.get()
    try:
        os.chdir(hydra.runtime.cwd)  # a worker of a Ray cluster begins where that was started
    except OSError as error:
        raise ConfigError(
            f"the folder {hydra.runtime.cwd!r}, where the command was given, cannot be entered on "
            f"{platform.node()!r} ({error.strerror}): give it in one that all machines see"
        ) from None
    open_doors()
    print(f"#{hydra.job.num} {safe(hydra.job.override_dirname)}", flush=True)


def tell_why(failed: Exception) -> None:
    """Say why the first job failed of a sweep whose jobs print elsewhere."""
    if _printed:
        print(f"error: {failed}; what each job said is in {_printed[-1]}", file=sys.stderr)


def print_sweep(console: Console) -> None:
    """Print the table of the sweeps that ran elsewhere."""
    _printed.clear()
    while _elsewhere:
        folder = _elsewhere.pop()
        try:
            found, damaged = survey(folder)
            if found:
                print_whole(console, runs_table(found))
            for line in damaged:
                console.print(safe(line), style="red", markup=False, highlight=False)
        except RunError:  # every job of it was refused, and has said why
            continue


def explained(error: Exception) -> Exception:
    """Return what to tell of a launcher's error; any other is returned as it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    if lacking := re.search(r"hydra_plugins\.hydra_(\w+)_launcher\.", lines[0]):
        return ConfigError(f"this launcher is not installed: {extra(lacking.group(1))}")
    where = _raised_in(error)
    if where in ("submitit.core.utils", "submitit.slurm.slurm") and _from(error) == "submitit":
        return RunError(f"the cluster took no job: {'; '.join(lines)}")
    if _from(error) in LAUNCHERS:
        return RunError(
            f"a job's process died ({lines[0]}): what it sampled is stored; "
            "the same command goes on"
        )
    if where.partition(".")[0] in LAUNCHERS and "Remote" not in repr(error.__cause__):
        return ConfigError(
            f"the launcher does not start: {lines[0].rstrip('.')}; "
            "change its settings, hydra.launcher.…"
        )
    return error


def _from(error: Exception) -> str:
    """Return the package that an error's class is from."""
    return type(error).__module__.partition(".")[0]


def _raised_in(error: Exception) -> str:
    """Return the module whose code raised an error."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
