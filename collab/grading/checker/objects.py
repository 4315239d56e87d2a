"""Objects of the question's classes, which both sides have: they cross field by field."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Objects:
    """The objects that cross in one exchange, by a name that both sides give to each."""

    def __init__(self, coder: Any) -> None:  # any: a Coder, which imports this module
        self._coder = coder
        self.classes: dict[str, Any] = {}  # any: classes
        """The classes that both sides have."""
        self._without_methods: set[str] = set()
        self._known: dict[str, Any] = {}  # any: objects
        self._first: dict[str, Any] = {}  # any: objects, not copies
        self._names: dict[int, str] = {}
        self._kept: list[object] = []
        self._queue: list[str] = []
        self._queued: set[str] = set()
        self._heard: dict[str, tuple[str, Any]] = {}  # any: fields, as plain data

    def clear(self) -> None:
        """Forget the objects of an exchange that is over."""
        for known in (self._known, self._first, self._names, self._kept, self._heard):
            known.clear()

    def is_shared(self, it: Any) -> bool:  # any: any object
        """Return whether both sides have the class of an object, or it is no more than fields."""
        kind = type(it)
        if kind.__module__ != self._coder.home or callable(it) or isinstance(it, type):
            return False
        name = kind.__name__
        if self._coder.home == "tests" and name not in self.classes:
            self.classes[name] = kind
            if any(callable(x) for key, x in vars(kind).items() if not key.startswith("__")):
                self._without_methods.add(name)
        if name in self._without_methods:
            self._coder.note(f"the program cannot call the methods of the tests' {name!r}")
        return name in self.classes

    def encode(self, it: Any) -> Any:  # any: an object, and plain data
        """Return a reference for an object of the question's classes; None for any other."""
        if not self.is_shared(it):
            return None
        kind = type(it).__name__
        if hasattr(type(it), "__members__"):
            return {"member": [kind, it.name]}
        name = self._names.setdefault(id(it), f"{self._coder.home}{len(self._names)}")
        self._known[name] = it
        self._first.setdefault(name, it)
        self._kept.append(it)  # so its id stays its own
        if name not in self._queued:
            self._queued.add(name)
            self._queue.append(name)
        return {"object": [name, kind]}

    def queued(self) -> Any:  # any: an iterator of messages
        """Yield the fields of the objects that the next message names, and those in them."""
        while self._queue:
            name = self._queue.pop()
            it = self._known[name]
            fields = [[key, self._coder.encode(value)] for key, value in _fields(it).items()]
            yield ["object", name, type(it).__name__, fields]
        self._queued.clear()

    def hear(self, name: str, kind: str, fields: Any) -> None:  # any: plain data
        """Keep the fields of an object until it is known what they are good for."""
        self._heard[name] = (kind, fields)

    def settle(self, *, in_place: bool) -> None:
        """Give the fields that were heard to the objects themselves, or to copies of them."""
        heard, self._heard = self._heard, {}
        for name in heard:
            self._known.pop(name, None)
            if in_place and name in self._first:
                self._known[name] = self._first[name]
        for name, (kind, fields) in heard.items():
            found = {key: self._coder.decode(value) for key, value in fields.items()}
            _fill(self.find(name, kind), found)

    def find(self, name: str, kind: str) -> Any:  # any: an object of a question's class
        """Return the object of a name, or a new one without fields."""
        if name not in self._known:
            if self._coder.home == "program" and kind not in self.classes:
                self.classes[kind] = type(kind, (), {"__module__": "program"})
            self._known[name] = it = object.__new__(self.classes[kind])
            self._first.setdefault(name, it)
            self._kept.append(it)
            self._names[id(it)] = name
        return self._known[name]

    def member(self, kind: str, name: str) -> Any:  # any: a member of an enumeration
        """Return a member of an enumeration of the question."""
        return self.classes[kind].__members__[name]


def _fields(it: Any) -> dict[str, Any]:  # any: an object of a question's class
    slots = [vars(kind).get("__slots__", ()) for kind in type(it).__mro__]
    names = [name for some in slots for name in ([some] if isinstance(some, str) else some)]
    found = {name: getattr(it, name) for name in names if hasattr(it, name)}
    return {k: v for k, v in (found | getattr(it, "__dict__", {})).items() if k[:2] != "__"}


def _fill(it: Any, fields: dict[str, Any]) -> None:  # any: a value of the program
    """Set the fields of an object; none that would hide a method of its class."""
    for name in set(getattr(it, "__dict__", {})) - set(fields):
        object.__delattr__(it, name)
    for name, value in fields.items():
        if name[:2] != "__" and not callable(getattr(type(it), name, None)):
            object.__setattr__(it, name, value)
