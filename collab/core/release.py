"""The installed distribution of this package: its name, version and extras."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

NAME = "collab-reasoning"
"""Not `collab`: another project has that name on the package index."""


@cache
def installed(name: str = NAME) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extra(name: str) -> str:
    """Return the command that installs an extra.

    It installs from a checkout: until collab is published, anyone can take its name on the index.
    """
    return f"pip install '.[{name}]' in a checkout of collab"
