"""Plain data for values, and values made anew of plain data."""

from __future__ import annotations

import builtins
import sys
from collections import namedtuple
from itertools import islice

from collab.grading.checker.errors import Errors
from collab.grading.checker.flow import awaited, generated, streamed
from collab.grading.checker.handle import Constant, Remote, Stepper, is_handle
from collab.grading.checker.kinds import (
    AS_THEY_ARE,
    COLLECTIONS,
    EXACT,
    LONG,
    MADE_OF,
    PLAIN,
    VIEWS,
    made,
)
from collab.grading.checker.lent import Lent
from collab.grading.checker.like import Likes
from collab.grading.checker.objects import Objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PIECE = 4096
"""Longer collections cross in pieces of this length: a copy of a whole one may not fit in memory.
"""


class Coder:
    """Encodes what one process says to the other, and decodes what it hears."""

    home = "tests"
    """The module whose classes are this side's own."""

    def __init__(self) -> None:
        self.lent = Lent()
        self.errors = Errors(self)
        self.objects = Objects(self)
        self.likes = Likes(self)
        self.values = False
        """Whether handles are for functions alone."""
        self.reason: str | None = None
        """What could not be carried over, if anything."""
        self._sent = 0
        self._pieces: dict[int, list[Any]] = {}  # any: items of collections that are on their way
        self._handles: dict[int, dict[int, Any]] = {}  # any: handles by number and level
        self.constants: dict[int, Any] = {}  # any: members of enumerations
        self._functions: dict[int, Any] = {}  # any: functions
        self._numbers: dict[int, int] = {}

    def say(self, message: Any) -> None:  # any: plain data
        """Send a message."""
        raise NotImplementedError

    def note(self, reason: str) -> None:
        """Note what could not be carried over."""
        self.reason = self.reason or reason

    def is_like(self, it: object) -> bool:
        """Return whether something is a value of a class of the program's own."""
        return id(it) in self._numbers

    def encode(self, it: Any) -> Any:  # any: whatever a program makes
        """Return plain data for a value, or a handle for what is no value."""
        if it is None or (type(it) in PLAIN and not (type(it) is int and abs(it) >= LONG)):
            return it
        if is_handle(it):
            return {"yours": object.__getattribute__(it, "_number")}
        if id(it) in self._numbers:
            return {"yours": self._numbers[id(it)]}
        if isinstance(it, list):
            return self.like(it, self._encode_all(list.__iter__(it)))
        return self._encode_collection(it) or self._encode_rarer(it)

    def _encode_collection(self, it: Any) -> Any:  # any: a value of the program
        if isinstance(it, dict) and type(it).__module__ != "collections":
            items = [[self.encode(k), self.encode(v)] for k, v in dict.items(it)]
            return self.like(it, {"dict": items})
        if isinstance(it, tuple) and isinstance(fields := getattr(it, "_fields", None), tuple):
            items = [self.encode(x) for x in tuple.__iter__(it)]
            return self.like(it, {"named": [type(it).__name__, list(fields), items]})
        for name, kind in COLLECTIONS.items():
            if isinstance(it, kind):
                return self.like(it, {name: self._encode_all(kind.__iter__(it))})
        return None

    def like(self, it: Any, data: Any) -> Any:  # any: a value, and plain data for it
        """Return plain data for a value; a program's process adds what else it has."""
        return data

    def _encode_all(self, items: Iterator[Any]) -> Any:  # any: a value of the program
        """Return plain data for a collection: a list, or the number under which it was sent."""
        piece = self._encode_some(items)
        if len(piece) < PIECE:
            return piece
        self._sent += 1
        number = self._sent
        while piece:
            self.say(["piece", number, piece])
            piece = self._encode_some(items)
        return {"pieces": number}

    def _encode_some(self, items: Iterator[Any]) -> list[Any]:  # any: a value of the program
        some = list(islice(items, PIECE))
        return some if set(map(type, some)) <= AS_THEY_ARE else list(map(self.encode, some))

    def _encode_rarer(self, it: Any) -> Any:  # any: a value of the program
        if self.home == "tests" and type(it).__name__ == "function":
            return {"function": [self.lent.number(it), it.__name__, it.__doc__]}
        if isinstance(it, BaseException):
            return {"exception": self.errors.encode(it)}
        if type(it).__module__ == "numpy" and hasattr(it, "item") and not hasattr(it, "__len__"):
            return self.encode(it.item())
        if type(it) is int:
            return {"int": hex(it)}
        for kind in PLAIN:
            if isinstance(it, kind):
                return self._encode_derived(it, EXACT[kind](it))
        return self._encode_flow(it) or self._encode_named(it) or self._encode_own(it)

    def _encode_derived(self, it: Any, plain: Any) -> Any:  # any: a value of the program
        if hasattr(type(it), "__members__") and (known := self.objects.encode(it)):
            return known
        return self.like(it, self.encode(plain))

    def _encode_flow(self, it: Any) -> Any:  # any: a value of the program
        """Return a handle of what is read or awaited step by step; None for anything else."""
        if type(it).__name__ == "coroutine":
            return {"awaits": self.lent.number(it)}
        if type(it).__name__ == "async_generator":
            return {"streams": self.lent.number(it)}
        if hasattr(type(it), "__next__") and type(it).__module__ != "_io":
            own = type(it).__module__ == self.home
            return {"stepper" if own else "iterator": self.lent.number(it)}
        return None

    def _encode_named(self, it: Any) -> Any:  # any: a value of the program
        """Return data for what both sides have under a name; None if it has none."""
        if isinstance(it, bytes):
            return {"bytes": bytes(it).hex()}
        known = getattr(it, "__name__", None)
        if isinstance(it, type) and getattr(builtins, str(known), None) is it:
            return {"type": known}
        if type(it).__name__ == "module" and known in sys.stdlib_module_names:
            return {"module": known}
        name = f"{type(it).__module__}.{type(it).__name__}"
        if name == "collections.defaultdict":
            return self.encode(dict(it))
        name = "numpy.array" if name == "numpy.ndarray" else name
        return {"made": [name, self.encode(MADE_OF[name](it))]} if name in MADE_OF else None

    def _encode_own(self, it: Any) -> Any:  # any: a value of the program
        """Return a reference for an object of the question's classes, or else a handle."""
        if isinstance(it, type) and issubclass(it, BaseException):
            return {"error": self.errors.lineage(it)}
        if type(it).__name__ in VIEWS and type(it).__module__ == "builtins":
            return {"view": [type(it).__name__, self.encode(list(it))]}
        constant = hasattr(type(it), "__members__")
        kind = "constant" if constant else "mine"
        return self.objects.encode(it) or {kind: self.lent.number(it)}

    def decode(self, data: Any) -> Any:  # any: whatever was encoded
        """Return the value, made anew of plain data.

        Raises:
            ValueError: The other side says what it may not say.
        """
        if not isinstance(data, dict):
            return self._decode_all(data) if isinstance(data, list) else data
        ((kind, inside),) = data.items()
        if kind == "pieces":
            return self._pieces.pop(inside)
        if kind in COLLECTIONS:
            return COLLECTIONS[kind](self.decode(inside))
        return self._decode_rarer(kind, inside)

    def _decode_all(self, data: list[Any]) -> list[Any]:  # any: a value of the program
        kinds = set(map(type, data))
        if kinds == {str}:
            return list(map(sys.intern, data))  # a text that comes a million times is kept once
        return data if kinds <= AS_THEY_ARE else list(map(self.decode, data))

    def keep_piece(self, number: int, some: list[Any]) -> None:  # any: plain data
        """Keep a piece of a long collection until it is named."""
        self._pieces.setdefault(number, []).extend(self._decode_all(some))

    def _decode_rarer(self, kind: str, inside: Any) -> Any:  # any: a value of the program
        match kind:
            case "dict":
                return {self.decode(key): self.decode(value) for key, value in inside}
            case "int":
                return int(inside, 16)
            case "bytes":
                return bytes.fromhex(inside)
            case "like":
                return self._like(*inside)
            case "named" | "view" | "member" | "exception" | "error" | "object":
                return self._decode_made(kind, inside)
            case "iterator" | "stepper" | "awaits" | "streams":
                return self._decode_flow(kind, inside)
            case _:
                return self._decode_known(kind, inside)

    def _decode_known(self, kind: str, inside: Any) -> Any:  # any: a value of the program
        match kind:
            case "type":
                it = getattr(builtins, inside)
                return self.errors.safe(it) if isinstance(it, type) else None
            case "module" if inside in sys.stdlib_module_names:
                return __import__(inside)
            case "made":
                return made(inside[0], self.decode(inside[1]))
            case "mine":
                return self.handle(inside)
            case "constant":
                return self.constants.setdefault(inside, Constant(self, inside))
            case "function" if self.home == "program":
                return self._function(*inside)
            case "yours":
                return self.lent.thing(inside)
        raise ValueError(f"no value is of kind {kind!r}")

    def _decode_made(self, kind: str, inside: Any) -> Any:  # any: a value of the program
        match kind:
            case "named":
                name, fields, items = inside
                make: Any = namedtuple  # mypy reads calls of it by name
                got = self._decode_all(items)
                return tuple(got) if self.values else make(name, fields)(*got)
            case "view":
                return VIEWS[inside[0]](self.decode(inside[1]))
            case "member":
                return self.objects.member(*inside)
            case "exception":
                return self.errors.decode(*inside)
            case "error":
                return self.errors.safe(self.errors.kind(inside) or Exception)
        return self.objects.find(*inside)

    def _decode_flow(self, kind: str, number: int) -> Any:  # any: a value of the program
        it = Stepper(self, number) if kind == "stepper" else Remote(self, number)
        if kind == "awaits":
            return awaited(it)
        if kind == "streams":
            return streamed(it)
        if self.values:
            return iter(list(generated(it)))
        return it if kind == "stepper" else generated(it)

    def handle(self, number: int, level: int = 0) -> Any:  # any: a handle
        """Return the handle of what has a number in the other process."""
        levels = self._handles.setdefault(number, {})
        if level not in levels:
            levels[level] = Remote(self, number, level)
        it = levels[level]
        return (lambda *args, **named: it(*args, **named)) if self.values else it

    def _function(self, number: int, name: str, doc: str | None) -> Any:  # any: a function
        """Return a function of the tests, under the name that it has there."""
        if number not in self._functions:
            remote = Remote(self, number)
            it = self._functions[number] = lambda *args, **named: remote(*args, **named)
            it.__name__ = it.__qualname__ = name
            it.__doc__ = doc
            self._numbers[id(it)] = number
        return self._functions[number]

    def _like(self, number: int, data: Any) -> Any:  # any: plain data, and a value
        """Return a value of a class of the program's own."""
        value = self.decode(data)
        if self.values:
            return value
        self._numbers.pop(id(self.likes.made.get(number)), None)
        it = self.likes.get(number, value)
        self._numbers[id(it)] = number
        return it

    def forget(self, kept: int) -> None:
        """Forget the handles of what has a number from `kept` on."""
        kinds = self.errors.kinds
        for known in (self._handles, self.constants, self.likes.made, self._functions, kinds):
            for number in [number for number in known if number >= kept]:
                self._numbers.pop(id(known.pop(number)), None)
