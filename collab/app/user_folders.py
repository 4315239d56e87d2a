"""The folders of a user in which collab keeps what outlives a run (XDG base directories)."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return the folder for state; a relative path if the user has no home directory."""
    return _folder("XDG_STATE_HOME", "~/.local/state")


def config_folder() -> Path:
    """Return the folder for settings; a relative path if the user has no home directory."""
    return _folder("XDG_CONFIG_HOME", "~/.config")


def _folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # the XDG specification says to ignore a relative path
        base = os.path.expanduser(default)
    return Path(base) / "collab"
