"""Programs that a machine may lack and some tests want; `COLLAB_TEST_WITHOUT=…` hides them."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

SWITCH = "COLLAB_TEST_WITHOUT"
PROGRAMS = {
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "munged": "munge",
    "postgresql": "postgresql",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
}
"""What the switch calls each, and Debian's package that brings it."""


def hidden() -> frozenset[str]:
    """Return what the switch hides.

    Raises:
        UsageError: It names what is none of `PROGRAMS`.
    """
    names = frozenset(filter(None, os.environ.get(SWITCH, "").split(",")))
    if unknown := sorted(names - PROGRAMS.keys()):
        raise pytest.UsageError(f"{SWITCH} names {unknown}; it can hide {sorted(PROGRAMS)}")
    return names


def left_out(name: str) -> str:
    """Say why a test that wants a program is left out."""
    why = f"hidden by {SWITCH}" if name in hidden() else f"apt-get install {PROGRAMS[name]}"
    return f"{PROGRAMS[name]} is not here ({why})"


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test or a module was skipped."""
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def found(name: str) -> Path:
    """Return where a program is, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(left_out(name))
    return Path(path)


def postgresql() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test."""
    initdb = shutil.which("initdb")
    homes = [Path(initdb).resolve().parent] if initdb else []
    homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    home = next((home for home in homes if (home / "initdb").exists()), None)
    if home is None or "postgresql" in hidden():
        pytest.skip(left_out("postgresql"))
    return home


def hide() -> None:
    """Take what is hidden off the PATH of this process and of those that it starts."""
    if names := hidden():
        folders = os.environ["PATH"].split(os.pathsep)
        os.environ["PATH"] = os.pathsep.join(_without(names, folder) for folder in folders)


def _without(names: Iterable[str], folder: str) -> str:
    """Return a folder, or a copy of it by links that lacks some programs."""
    if not any((Path(folder) / name).exists() for name in names):
        return folder
    copy = Path(tempfile.mkdtemp(prefix="collab-path-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for program in Path(folder).iterdir():
        if program.name not in names:
            (copy / program.name).symlink_to(program)
    return str(copy)
