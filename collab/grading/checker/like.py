"""Values of the program's own classes: builtin ones here, with the rest of what they have there."""

from __future__ import annotations

from collab.grading.checker.flow import on
from collab.grading.checker.handle import Remote
from collab.grading.checker.kinds import COLLECTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUILTIN = (list, dict, set, int, float, str, bytes, *COLLECTIONS.values())


class Likes:
    """The values, by the number that the program's process gives to each."""

    def __init__(self, coder: Any) -> None:  # any: a Coder, which imports this module
        self._coder = coder
        self.made: dict[int, Any] = {}  # any: values

    def get(self, number: int, value: Any) -> Any:  # any: values
        """Return the value that stands for an object: the one made before, if it is the same."""
        known = self.made.get(number)
        base = next((base for base in BUILTIN if isinstance(value, base)), None)
        if base is None:
            raise ValueError(f"no value is like {value!r}")
        if isinstance(known, base) and (known == value or _is_filled(known, value)):
            return known
        it = self.made[number] = _made(type(value), value)
        it.__dict__["like of"] = Remote(self._coder, number)
        return it


def _made(kind: Any, value: Any) -> Any:  # any: a builtin class, and its value
    members = {"__getattr__": _get, "__str__": _str, "__repr__": _repr, "__hash__": kind.__hash__}
    made = type(kind.__name__, (kind,), members)
    return made._make(value) if hasattr(kind, "_make") else made(value)  # type: ignore[attr-defined]


def _get(it: Any, name: str) -> Any:  # any: a value, and an attribute of its object
    remote = it.__dict__.get("like of")
    if remote is None or name[:2] == "__":
        raise AttributeError(name)
    found = getattr(remote, name)
    if not isinstance(found, Remote):
        return found

    def call(*args: object, **named: object) -> Any:  # any: a result
        try:
            return found(*args, **named)
        finally:
            for value in on(remote, "base"):
                _is_filled(it, value)

    return call


def _str(it: Any) -> str:  # any: a value
    return str(it.__dict__["like of"])


def _repr(it: Any) -> str:  # any: a value
    return repr(it.__dict__["like of"])


def _is_filled(it: Any, value: Any) -> bool:  # any: values
    """Give a collection its present content; return whether it is one that can change."""
    match it:
        case list():
            it[:] = value
        case dict() | set():
            it.clear()
            it.update(value)
        case _:
            return False
    return True
