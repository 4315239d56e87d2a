"""Handles: what the tests hold in place of the program's own objects.

A handle is called, read and set in the other process. Whether a result is right is not for the
program to say, so it never sees a plain value that an object of its own is compared with: the
tests' process compares. Its own operators count only between two objects, one of which the tests
made by a class that the question asks for.
"""

from __future__ import annotations

import operator
from itertools import islice

from collab.grading.checker.flow import MANY, awaited, on, streamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

READABLE = frozenset(
    (
        *("__name__", "__qualname__", "__doc__", "__dict__", "__wrapped__", "__module__"),
        *("__bases__", "__mro__", "__annotations__", "__slots__", "__dataclass_fields__"),
        *("__match_args__", "__abstractmethods__", "__defaults__", "__members__"),
    )
)
"""The special attributes that tests may read."""
COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "divmod"),
    *("and_", "or_", "xor", "lshift", "rshift"),
)
DIFFERENCES = frozenset(("sub", "truediv", "floordiv", "mod", "xor", "divmod"))
"""Operators by which a number is compared with the one that is expected."""


class Remote:
    """A handle.

    Its level says how far the program's own operators count: 0 for any object; 1 for one that the
    tests made by a class; 2 if the question also uses that class as one, and not as a function.
    """

    __slots__ = ("_acts", "_items", "_level", "_number", "_peer", "_source")
    __class__ = property(lambda self: _class(self))

    def __init__(self, peer: Any, number: int, level: int = 0) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_level", level)
        object.__setattr__(self, "_acts", -1)

    def __call__(self, *args: object, **named: object) -> Any:  # any: its result
        """Call it."""
        peer = _of(self, "_peer")
        level = peer.asked.get(_of(self, "_number"), 0)
        return raised_to(level, peer.ask("call", self, args, named))

    def __iter__(self) -> Iterator[Any]:  # any: its items
        """Go through its items, each as it was first read since the last possible change."""
        peer = _of(self, "_peer")
        if _of(self, "_acts") != peer.acts:
            object.__setattr__(self, "_items", [])
            object.__setattr__(self, "_source", on(self, "iter"))
            object.__setattr__(self, "_acts", peer.acts)
        return _replayed(self, _of(self, "_items"), _of(self, "_source"))

    def __reversed__(self) -> Iterator[Any]:  # any: its items
        """Go through its items from the end."""
        return iter(on(self, "reversed"))

    def __contains__(self, item: object) -> bool:
        """Look among its items; ask an object of a class that has none."""
        try:
            items = iter(self)
        except TypeError:
            if _of(self, "_level") < 2:
                raise
            return on(self, "operator", "contains", item) is True
        return item in items

    def __len__(self) -> int:
        """Count its items; believe it if they cannot be read, or are too many."""
        claimed: int | None = on(self, "length")
        if claimed is None:
            raise TypeError("the program's object has no length")
        try:
            count = sum(1 for _ in islice(iter(self), MANY))
        except Exception:  # it is no collection, or a mapping without `__iter__`
            return claimed
        return claimed if count == MANY else count

    def __bool__(self) -> bool:
        """Say whether it has items, or no length; ask an object that the tests made."""
        if _of(self, "_level"):
            return on(self, "operator", "truth") is True
        if on(self, "defines", "__bool__"):
            _of(self, "_peer").note("an object of the program's own decides whether it is true")
        return on(self, "length") is None or len(self) > 0

    def __hash__(self) -> int:
        """Return its own hash; what is equal to it is decided elsewhere."""
        peer = _of(self, "_peer")
        return hash(on(self, "hash") if peer.home == "tests" else ("handle", _of(self, "_number")))

    def __getattr__(self, name: str) -> Any:  # any: whatever it has
        """Read one of its attributes."""
        if _of(self, "_peer").home == "program" or (name[:2] == "__" and name not in READABLE):
            raise AttributeError(name)
        return raised_to(
            _of(self, "_peer").asked.get(_of(self, "_number"), 0), on(self, "get", name)
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Set one of its attributes."""
        on(self, "set", name, value)

    def __delattr__(self, name: str) -> None:
        """Delete one of its attributes."""
        on(self, "delete", "delattr", name)

    def __delitem__(self, key: object) -> None:
        """Delete one of its items."""
        on(self, "delete", "delitem", key)

    def __instancecheck__(self, it: object) -> bool:
        """Return whether one of the program's objects is of this class of its own."""
        known = is_handle(it) or _of(self, "_peer").is_like(it)
        return known and on(self, "isinstance", it) is True

    def __subclasscheck__(self, kind: object) -> bool:
        """Return whether one of the program's classes is below this one."""
        return is_handle(kind) and on(self, "issubclass", kind) is True

    def __enter__(self) -> Any:  # any: its result
        """Enter it."""
        return raised_to(_of(self, "_level"), on(self, "get", "__enter__")())

    def __exit__(self, *raised: Any) -> bool:  # any: an exception
        """Leave it; it may stop an exception that the tests raise on purpose, and no other."""
        return _stops(self, on(self, "exit", raised[1]), raised[1])

    async def __aenter__(self) -> Any:  # any: its result
        """Enter it."""
        return raised_to(_of(self, "_level"), await on(self, "get", "__aenter__")())

    async def __aexit__(self, *raised: Any) -> bool:  # any: an exception
        """Leave it, as `__exit__` does."""
        return _stops(self, on(self, "aexit", raised[1]), raised[1])

    def __aiter__(self) -> Any:  # any: an asynchronous iterator
        """Go through its items as they come."""
        return streamed(on(self, "aiter"))

    def __await__(self) -> Any:  # any: an iterator
        """Wait for it."""
        return awaited(self).__await__()

    def __copy__(self) -> Any:  # any: a handle
        """Copy it in its process."""
        return raised_to(_of(self, "_level"), on(self, "copy", False))

    def __deepcopy__(self, memo: object) -> Any:  # any: a handle
        """Copy it in its process, with all that it holds."""
        return raised_to(_of(self, "_level"), on(self, "copy", True))


class Stepper(Remote):
    """A handle of an iterator of a class of the program's own."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:  # any: its items
        """Return itself."""
        return self

    def __next__(self) -> Any:  # any: an item
        """Return its next item."""
        more, item = on(self, "next", None)
        if not more:
            raise StopIteration(item)
        return item


class Constant(Remote):
    """The only handle of a member of an enumeration of the program's own."""

    __slots__ = ()


def is_handle(it: object) -> bool:
    """Return whether something is a handle, whatever it claims."""
    return type(it) in (Remote, Stepper, Constant)


def raised_to(level: int, it: Any) -> Any:  # any: a result
    """Return an object that the tests made at its level, and anything else as it is."""
    if level and type(it) is Constant:
        object.__setattr__(it, "_level", 1)
    elif level and type(it) is Remote:
        return _of(it, "_peer").handle(_of(it, "_number"), level)
    return it


def _of(remote: Any, name: str) -> Any:  # any: a field of a handle
    return object.__getattribute__(remote, name)


def _stops(it: Remote, stops: object, error: BaseException | None) -> bool:
    if error is None or not stops:
        return False
    peer = _of(it, "_peer")
    if not isinstance(error, AssertionError) and not peer.is_on_purpose(error):
        peer.note("the program's `with` block stops an exception")
    return peer.is_on_purpose(error) is True


def _replayed(it: Remote, items: list[Any], source: Iterator[Any]) -> Iterator[Any]:  # any: items
    at = 0
    while at < MANY:
        if at == len(items):
            try:
                items.append(next(source))
            except StopIteration:
                return
            except Exception:
                object.__setattr__(it, "_acts", -1)  # they cannot be read: start again
                raise
        yield items[at]
        at += 1


def _refused(it: Remote, name: str) -> Any:  # any: NotImplemented
    _of(it, "_peer").note(f"an object of the program's own is an operand of {name!r}")
    return NotImplemented


def _compared(self: Remote, name: str, other: object) -> Any:  # any: a bool, or NotImplemented
    """Compare an object of the program with another one, or its plain value with a plain one."""
    pair = (self, other) if is_handle(other) else (self,)
    numbers = {_of(it, "_number") for it in pair}
    if len(pair) > len(numbers) and name in ("eq", "ne"):
        return name == "eq"
    if len(pair) == 2 and max(_of(it, "_level") for it in pair):
        found = on(self, "operator", name, other)
        return found if type(found) is bool else _refused(self, name)
    values = [on(it, "base") for it in pair]
    if all(values):
        return getattr(operator, name)(values[0][0], values[-1][0] if len(pair) == 2 else other)
    if other is None or (name in ("eq", "ne") and on(self, "identical")):
        return NotImplemented
    return _refused(self, name)


def _computed(self: Remote, name: str, verb: str, others: tuple[object, ...]) -> Any:  # any: result
    """Let the program compute; not with a plain value that its result may be compared with."""
    handles = [it for it in (self, *others) if is_handle(it)]
    level = max(_of(it, "_level") for it in handles)
    both = len(handles) == 1 + len(others)
    if not level or (type(self) is Constant and not both):
        return _refused(self, name)
    it = on(self, verb, name, *others)
    if both:
        return raised_to(level, it)
    trusted = level == 2 and name.removeprefix("i") not in DIFFERENCES
    if is_handle(it):
        return raised_to(level if trusted else 0, it)
    return it if trusted else _refused(self, name)


def _comparison(name: str) -> Callable[[Remote, object], Any]:  # any: as above
    return lambda self, other: _compared(self, name, other)


def _operator(name: str, verb: str = "operator") -> Callable[..., Any]:  # any: as above
    return lambda self, *others: _computed(self, name, verb, others)


def _forward(name: str) -> Callable[..., Any]:  # any: a result
    return lambda self, *args: on(self, "get", name)(*args)


def _unary(name: str) -> Callable[..., Any]:  # any: a result
    def operate(self: Remote, *args: object) -> Any:  # any: a value of the program
        if not _of(self, "_level"):
            _refused(self, name)
            raise TypeError(f"the program's object has no {name}")
        return raised_to(_of(self, "_level"), on(self, "get", name)(*args))

    return operate


def _readable(name: str) -> property:
    return property(lambda self: on(self, "get", name))


def _class(self: Remote) -> Any:  # any: a handle of its class, or a class of ours
    found = on(self, "class") if _of(self, "_peer").home == "tests" else None
    return found if type(found) is Remote else type(self)


def _install() -> None:
    for name in ("getitem", "setitem", "str", "repr", "format"):
        setattr(Remote, f"__{name}__", _forward(f"__{name}__"))
    for name in COMPARISONS:
        setattr(Remote, f"__{name}__", _comparison(name))
    for name in ARITHMETIC:
        own = name.rstrip("_")
        setattr(Remote, f"__{own}__", _operator(name))
        setattr(Remote, f"__r{own}__", _operator(name, "reflected"))
        if name != "divmod":
            setattr(Remote, f"__i{own}__", _operator(f"i{own}"))
    for name in ("neg", "pos", "abs", "invert", "int", "float", "round", "index", "complex"):
        setattr(Remote, f"__{name}__", _unary(f"__{name}__"))
    for name in ("floor", "ceil", "trunc"):
        setattr(Remote, f"__{name}__", _unary(f"__{name}__"))
    for name in ("__doc__", "__module__", "__slots__"):  # else they would be this class's own
        setattr(Remote, name, _readable(name))


_install()
