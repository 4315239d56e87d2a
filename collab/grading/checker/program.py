"""The program's own process: it may do whatever it likes here."""

from __future__ import annotations

import io
import operator
import sys

from collab.grading.checker.flow import step
from collab.grading.checker.in_place import has_containers
from collab.grading.checker.kinds import base_value
from collab.grading.checker.peer import Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

PRINTED = 1_000_000
"""The number of characters printed in one call that cross."""
NAME = "program"


class Program(Peer):
    """The tests' process, as the program's own sees it."""

    home = NAME

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        super().__init__(reads, writes)
        self.in_place = True  # what the tests send is new
        self._watched = False
        self._printed = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace", "", write_through=True)
        self._loop: Any = None  # any: an event loop, once one is needed

    def _answer(self, verb: str, *args: Any) -> list[Any]:  # any: plain data
        """Do one thing, and say what was printed meanwhile."""
        before, sys.stdout = sys.stdout, self._printed
        try:
            answer = super()._answer(verb, *args)
        finally:
            sys.stdout = before
        if not self._printed.closed and self._printed.tell():
            self._printed.seek(0)
            text = self._printed.read(PRINTED)
            self._printed.seek(0)
            self._printed.truncate()
            if verb != "run":
                self.say(["prints", text])
        return answer

    def do(self, verb: str, *args: Any) -> object:
        """Do one thing for the tests."""
        thing, *rest = map(self.decode, args)
        match verb:
            case "run":
                return self._run(thing, *rest)
            case "begin":
                self._watched = bool(rest[0])
                return self.lent.mark()
            case "again":
                self.forget(0)
                return self.lent.rewind()
            case "call":
                return self._call(thing, *rest)
            case "next" | "throw" | "take":
                return self.proceed(verb, thing, *rest)
            case "get" | "set" | "delete" | "copy":
                return _touched(verb, thing, *rest)
            case "await" | "anext" | "aiter" | "aexit":
                return self._wait_for(verb, thing, *rest)
            case _:
                return _looked_at(verb, thing, *rest)

    def _run(self, text: str, names: list[str]) -> object:
        module = type(sys)(NAME)
        sys.modules[NAME] = module
        vars(module)["input"] = self._input
        exec(compile(text, NAME, "exec"), vars(module))
        self.objects.classes |= {name: vars(module)[name] for name in names if name in vars(module)}
        return module

    def _call(self, thing: Any, args: Any, named: Any) -> object:  # any: as it is called
        """Call something, and say what became of its arguments."""
        it = thing(*args, **named)
        both = (args, named)
        given = (*args, *named.values())
        if (it is None or self._watched) and (
            has_containers(both) or any(map(self.objects.is_shared, given))
        ):
            self._send(["changed", self.encode(both)])
        return Own(it) if _is_made_by(it, thing) else it

    def encode(self, it: Any) -> Any:  # any: whatever a program makes
        """Return plain data for a value, or a handle for what is no value."""
        if type(it) is Own:
            return self.objects.encode(it.of) or {"mine": self.lent.number(it.of)}
        return super().encode(it)

    def like(self, it: Any, data: Any) -> Any:  # any: a value, and plain data for it
        """Return plain data for a value, with a number if its class has more to it."""
        kind = type(it)
        if kind.__module__ != NAME or (hasattr(kind, "_fields") and not _has_more(kind)):
            return data
        return {"like": [self.lent.number(it), data]}

    def _wait_for(self, verb: str, thing: Any, *rest: Any) -> object:  # any: what is awaited
        match verb:
            case "await":
                return self._wait(thing)
            case "anext":
                return step(lambda: self._wait(thing.__anext__()))
            case "aiter":
                it = thing.__aiter__()
                return it if type(it).__name__ == "async_generator" else Own(it)
        error = rest[0]
        return bool(self._wait(thing.__aexit__(type(error) if error else None, error, None)))

    def _wait(self, it: Any) -> object:  # any: a coroutine
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(it)

    def _input(self, prompt: object = "") -> Any:  # any: a line
        """Read a line of what the tests put in place of the keyboard."""
        return self.ask("read", str(prompt))


class Own:
    """An object that stays here, whatever it derives from."""

    def __init__(self, of: Any) -> None:  # any: the object
        self.of = of


def _is_member(it: object) -> bool:
    return hasattr(type(it), "__members__")


def _is_made_by(it: object, thing: Any) -> bool:  # any: what was called
    """Return whether an object is one of a class of the program's own that was called for it."""
    own = isinstance(thing, type) and thing.__module__ == NAME and type(it) is thing
    value = isinstance(it, (tuple, BaseException)) or _is_member(it)
    return own and not value and not hasattr(thing, "__next__")


def _has_more(kind: Any) -> bool:  # any: a class of named tuples
    """Return whether a class has more than the fields."""
    return any(name[0] != "_" and name not in kind._fields for name in vars(kind))


def _touched(verb: str, thing: Any, *rest: Any) -> object:  # any: the object of a handle
    match verb:
        case "get":
            return getattr(thing, *rest)
        case "set":
            setattr(thing, *rest)
            return None
        case "delete":
            remove: Any = delattr if rest[0] == "delattr" else operator.delitem
            return remove(thing, rest[1])
    import copy

    return Own((copy.deepcopy if rest[0] else copy.copy)(thing))


def _looked_at(verb: str, thing: Any, *rest: Any) -> object:  # any: a value of the program
    match verb:
        case "class":
            return Own(type(thing))
        case "hash":
            return hash(thing)
        case "base":
            return base_value(thing)
        case "length":
            return len(thing) if hasattr(type(thing), "__len__") else None
        case "callable":
            return callable(thing)
        case "defines":
            return hasattr(type(thing), rest[0])
        case "identical":
            return getattr(type(thing), "__eq__", None) is getattr(object, "__eq__", None)
        case "iter":
            return iter(thing)
        case "reversed":
            return reversed(thing)
        case _:
            return _used(verb, thing, *rest)


def _used(verb: str, thing: Any, *rest: Any) -> object:  # any: a value of the program
    match verb:
        case "operator":
            return _operator(rest[0])(thing, *rest[1:])
        case "reflected":
            return _operator(rest[0])(rest[1], thing)
        case "isinstance":
            return isinstance(rest[0], thing)
        case "issubclass":
            return issubclass(rest[0], thing)
        case "exit":
            error = rest[0]
            return bool(thing.__exit__(type(error) if error else None, error, None))
        case "look":
            import dataclasses

            return getattr(dataclasses, rest[0])(thing, **rest[1])
    raise ValueError(f"{verb!r} is not known")


def _operator(name: str) -> Any:  # any: a function
    return divmod if name == "divmod" else getattr(operator, name)
