"""The distribution that holds this package: its name, its version and its extras."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

NAME = "collab-reasoning"
"""Not `collab`: the package index has a project of that name, by somebody else."""


@cache
def installed(name: str = NAME) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extra(name: str) -> str:
    """Return how to install an extra.

    It is installed from a checkout until collab is published: anybody could take its name on the
    index before that.
    """
    return f"pip install '.[{name}]' in a checkout of collab"
