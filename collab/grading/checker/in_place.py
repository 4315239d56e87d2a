"""Arguments that a program changed in place: the tests' own containers get the new content."""

from __future__ import annotations

from collab.grading.checker.kinds import CONTAINERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def has_containers(args: Any) -> bool:  # any: arguments, positional and named
    """Return whether a call hands over anything that can be changed in place."""
    return any(isinstance(it, CONTAINERS) for it in (*args[0], *args[1].values()))


def write_back(old: Any, new: Any) -> None:  # any: arguments, and their new content
    """Give containers the content that the program gave them."""
    if type(old) is not type(new):
        return
    match old:
        case tuple():
            for one, other in zip(old, new, strict=False):
                write_back(one, other)
        case list():
            kept = [_merged(one, other) for one, other in zip(old, new, strict=False)]
            old[:] = kept + new[len(kept) :]
        case dict():
            merged = {k: _merged(old[k], v) if k in old else v for k, v in new.items()}
            old.clear()
            old.update(merged)
        case set():
            old.intersection_update(new)
            old.update(new)
        case bytearray():
            old[:] = new


def _merged(old: Any, new: Any) -> Any:  # any: items of a container
    """Return the old container with new content, or else the new value."""
    if type(old) is not type(new) or not isinstance(old, (*CONTAINERS, tuple)):
        return new
    write_back(old, new)
    return new if isinstance(old, tuple) else old
