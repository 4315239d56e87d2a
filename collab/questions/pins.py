"""Pinned revisions: the commits that the first run of a folder resolved.

A branch such as `main` moves, but a sweep must read the same commit throughout. The first load
stores the commit in `pins.json` next to the runs, and later loads read it there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from collab.errors import ConfigError

FILE = "pins.json"


def pinned(runs: Path, name: str, resolve: Callable[[], str]) -> str:
    """Return the pinned commit of a name; resolve and store it the first time.

    Args:
        runs: The folder of the runs that share the pin.
        name: The pinned name, such as `datasets/owner/name@main`.
        resolve: Fetches the commit.

    Raises:
        ConfigError: The file of pins cannot be read or written.
    """
    path = runs / FILE
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with FileLock(runs / ".pins.lock"):
            pins = json.loads(path.read_bytes()) if path.exists() else {}
            if name not in pins:
                pins[name] = resolve()
                aside = path.with_suffix(".new")
                aside.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n")
                os.replace(aside, path)
            return str(pins[name])
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot use {str(path)!r}: {error}") from None
