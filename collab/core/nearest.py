"""Find the name that a misspelt one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of some names; None if none is similar.

    Examples:
        >>> from collab.core.nearest import nearest
        >>> nearest("sampels", ["samples", "points"])
        'samples'
        >>> nearest("sampels", ["points"]) is None
        True
    """
    near = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return near[0] if near else None
