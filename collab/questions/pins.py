"""Revisions as they were when a run folder first needed them.

A branch such as `main` moves; what a sweep reads must not. The first load notes the commit in
`pins.json` beside the runs, all later ones read it there.
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
    """Return the commit that a name was pinned to; resolve and note it the first time.

    Args:
        runs: The folder with the runs that share the pin.
        name: What is pinned, such as `datasets/owner/name@main`.
        resolve: Asks for the commit.

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
