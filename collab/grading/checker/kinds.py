"""What crosses by value: the classes, and how an equal object is made of plain data."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MADE_OF: dict[str, Callable[[Any], list[Any]]] = {  # any: an object of the class named
    "_io.BytesIO": lambda it: [it.getvalue()],
    "_io.StringIO": lambda it: [it.getvalue()],
    "builtins.bytearray": lambda it: [bytes(it)],
    "builtins.complex": lambda it: [it.real, it.imag],
    "builtins.range": lambda it: [it.start, it.stop, it.step],
    "builtins.slice": lambda it: [it.start, it.stop, it.step],
    "collections.Counter": lambda it: [dict(it)],
    "collections.OrderedDict": lambda it: [dict(it)],
    "collections.deque": lambda it: [list(it), it.maxlen],
    "datetime.date": lambda it: [it.year, it.month, it.day],
    "datetime.datetime": lambda it: [*it.timetuple()[:6], it.microsecond, it.tzinfo],
    "datetime.time": lambda it: [it.hour, it.minute, it.second, it.microsecond, it.tzinfo],
    "datetime.timedelta": lambda it: [it.days, it.seconds, it.microseconds],
    "datetime.timezone": lambda it: [it.utcoffset(None)],
    "decimal.Decimal": lambda it: [str(it)],
    "fractions.Fraction": lambda it: [it.numerator, it.denominator],
    "numpy.array": lambda it: [it.tolist(), it.dtype.str],
    "pathlib.PosixPath": lambda it: [str(it)],
    "pathlib.PurePosixPath": lambda it: [str(it)],
    "types.MappingProxyType": lambda it: [dict(it)],
    "uuid.UUID": lambda it: [str(it)],
    "zoneinfo.ZoneInfo": lambda it: [it.key],
}
"""Classes, and the arguments that make an equal object of each."""
COLLECTIONS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}  # any: classes
PLAIN = (bool, int, float, str)
EXACT: dict[Any, Callable[[Any], Any]] = {  # any: numbers and texts
    bool: bool,
    int: int.__index__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda it: bytes.__getitem__(it, slice(None)),
}
"""How a value of exactly this class is made of an object of one derived from it."""
AS_THEY_ARE = {type(None), bool, float, str}
"""The types that JSON has too, for each of their values."""
LONG = 2**256
"""Integers from here on cross in base 16, because base 10 takes quadratic time."""
VIEWS: dict[str, Callable[[list[Any]], Any]] = {  # any: items
    "dict_keys": lambda items: dict.fromkeys(items).keys(),
    "dict_values": lambda items: dict(enumerate(items)).values(),
    "dict_items": lambda items: dict(items).items(),
}
"""The views of a dict, each made of its items."""
CONTAINERS = (list, dict, set, bytearray)
"""What a program may change in place."""
BASES = (*EXACT, list, tuple, dict, set, frozenset)
"""Builtin classes; an object of a class derived from one has a plain value."""


def base_value(it: Any) -> list[Any]:  # any: an object, and its value
    """Return the plain value of an object that compares as a builtin class does, or nothing."""
    own = next(one for one in type(it).__mro__ if "__eq__" in vars(one))
    base = next((base for base in BASES if isinstance(it, base)), None)
    known = own.__module__ in ("builtins", "collections")
    return [_plain(it, base)] if base is not None and known else []


def _plain(it: Any, base: Any) -> Any:  # any: an object, its builtin class and its value
    if base is dict:
        return dict(dict.items(it))
    return EXACT[base](it) if base in EXACT else base(base.__iter__(it))


def made(name: str, args: list[Any]) -> Any:  # any: arguments, and an object of the class named
    """Make an object of plain arguments.

    Raises:
        ValueError: The class is not known, or an argument is not plain.
    """
    module, _, own = name.rpartition(".")
    if name not in MADE_OF or any(map(callable, args)):
        raise ValueError(f"no value is of kind {name!r}")
    it = getattr(__import__(module), own)(*args)
    return _without_truth(it) if name == "numpy.array" and it.size == 0 else it


def _without_truth(it: Any) -> Any:  # any: numpy's arrays
    """Return an empty array that equals only empty ones: numpy's own equals every number."""
    import numpy

    class Empty(numpy.ndarray):
        def __bool__(self) -> bool:
            raise ValueError("the truth value of an empty array is ambiguous")

        def __eq__(self, other: Any) -> Any:
            return super().__eq__(other) if numpy.size(other) == 0 else numpy.False_

        def __ne__(self, other: Any) -> Any:
            return super().__ne__(other) if numpy.size(other) == 0 else numpy.True_

    return it.view(Empty)
