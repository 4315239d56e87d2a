"""The two processes inside a sandbox that judge a program: it runs in one, its tests in the other.

The program's process is forked off before the tests are read, and the two share nothing but a pair
of pipes with plain data on it. So the program cannot see the tests, or change what they mean: a
result is a number, a text or a collection of such, made anew on this side, or else a mere handle.
A handle equals itself alone; its items are read once and made anew, and decide `in`, its length and
its truth. Tests call what the program defines as if it stood in front of them. Arguments go over by
value.

`collab.grading.code` hands this file to the sandbox as a program, so it imports of the standard
library what loads fast. stdin is a job in JSON:

- `program`, the program's text;
- `entry`, a name that it may define over ours, or null;
- `lends`, other names that tests take from it (optional). All else that tests use, they or `before`
  define, or it is a module of the standard library;
- `values`, whether results are plain values and functions, not other objects (optional);
- `before`, which runs in front of the tests on their side;
- `suites`, the tests by name.

stdout is one line: for each suite null, or what was wrong; or why the tests are `broken`.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from contextlib import suppress
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType
    from typing import Any, BinaryIO, NoReturn

MADE_OF: dict[str, Callable[[Any], list[Any]]] = {  # any: an object of the class named
    "builtins.bytearray": lambda it: [bytes(it)],
    "builtins.complex": lambda it: [it.real, it.imag],
    "builtins.range": lambda it: [it.start, it.stop, it.step],
    "collections.Counter": lambda it: [dict(it)],
    "collections.OrderedDict": lambda it: [dict(it)],
    "collections.deque": lambda it: [list(it), it.maxlen],
    "datetime.date": lambda it: [it.year, it.month, it.day],
    "datetime.datetime": lambda it: [*it.timetuple()[:6], it.microsecond],
    "datetime.time": lambda it: [it.hour, it.minute, it.second, it.microsecond],
    "datetime.timedelta": lambda it: [it.days, it.seconds, it.microseconds],
    "decimal.Decimal": lambda it: [str(it)],
    "fractions.Fraction": lambda it: [it.numerator, it.denominator],
    "numpy.array": lambda it: [it.tolist(), it.dtype.str],
}
"""What else goes over by value: a class, and the arguments that make an equal object of it."""
COLLECTIONS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}  # any: classes
PLAIN = (bool, int, float, str)
AS_THEY_ARE = {type(None), bool, float, str}
"""What JSON has too, whatever the value."""
LONG = 2**256
"""From here on an integer goes over in base 16: base 10 takes quadratic time."""
ENDS = (StopIteration, StopAsyncIteration)
"""What ends a loop that calls the program, as if there were no more to test."""
MANY = 100_000
"""How much of an iterator is read."""
PIECE = 4096
"""Longer collections go over in pieces of so many: a copy of a whole one may not fit in memory."""


class Peer:
    """One of the two processes, as the other one sees it."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        self._reads = reads
        self._writes = writes
        self._lent: list[object] = []
        self._sent = 0
        self.values = False
        """Whether handles are for functions alone."""
        self.acts = 0
        """How often something was called or set there, which may change what there is."""
        self._pieces: dict[int, list[Any]] = {}  # any: what came of collections still to be named

    def ask(self, verb: str, thing: Any, *args: Any) -> Any:  # any: whatever it says
        """Have the other process do something, and return what comes of it.

        Raises:
            Exception: What was raised there, or EOFError where that process has ended.
        """
        self.acts += verb in ("call", "set")
        self._send([verb, thing, *args])
        while True:
            match self._receive():
                case ["gives", data]:
                    return self.decode(data)
                case ["raises", str(name), str(message)]:
                    raise _error(name, message)
                case ["call", function, positional, named]:
                    self._serve("call", function, positional, named)
                case _:
                    raise EOFError("the program has ended the conversation")

    def serve(self) -> NoReturn:
        """Do what the other process asks for, until it ends."""
        while True:
            self._serve(*self._receive())

    def _serve(self, verb: str, *args: Any) -> None:
        try:
            answer = ["gives", self.encode(self.do(verb, *args))]
        except BaseException as error:  # a program may raise anything; its tests learn of it
            answer = ["raises", type(error).__name__, str(error)[:1000]]
        self._send(answer)

    def do(self, verb: str, *args: Any) -> object:
        """Do one thing for the other process: here, call back a function that tests handed over.

        Nothing else can be called: a class could make an object that is equal to everything.
        """
        function, positional, named = args
        if verb != "call" or "yours" not in function:
            raise ValueError(f"the program may not {verb} this")
        return self.decode(function)(*self.decode(positional), **self.decode(named))

    def _send(self, message: Any) -> None:
        self._writes.write(json.dumps(message).encode() + b"\n")
        self._writes.flush()

    def _receive(self) -> Any:
        while (line := self._reads.readline()).endswith(b"\n"):
            match json.loads(line):
                case ["piece", int(number), [*some]]:
                    self._pieces.setdefault(number, []).extend(self._decode_all(some))
                case message:
                    return message
        raise EOFError("the program has ended early")

    def encode(self, it: Any) -> Any:  # any: whatever a program makes
        """Return plain data for a value, or a handle for what is no value."""
        if it is None or (type(it) in PLAIN and not (type(it) is int and abs(it) >= LONG)):
            return it
        if isinstance(it, list):
            return self._encode_all(list.__iter__(it))
        if isinstance(it, dict) and type(it).__module__ != "collections":
            return {"dict": [[self.encode(k), self.encode(v)] for k, v in dict.items(it)]}
        for name, kind in COLLECTIONS.items():
            if isinstance(it, kind):
                return {name: self._encode_all(iter(it))}
        return self._encode_rarer(it)

    def _encode_all(self, items: Iterator[Any]) -> Any:  # any: likewise
        """Return plain data for a collection: a list, or the number under which it went over."""
        piece = self._encode_some(items)
        if len(piece) < PIECE:
            return piece
        self._sent += 1
        number = self._sent
        while piece:
            self._send(["piece", number, piece])
            piece = self._encode_some(items)
        return {"pieces": number}

    def _encode_some(self, items: Iterator[Any]) -> list[Any]:  # any: likewise
        some = list(islice(items, PIECE))
        return some if set(map(type, some)) <= AS_THEY_ARE else list(map(self.encode, some))

    def _encode_rarer(self, it: Any) -> Any:  # any: likewise
        if isinstance(it, Remote):
            return {"yours": object.__getattribute__(it, "_number")}
        if type(it).__module__ == "numpy" and hasattr(it, "item") and not hasattr(it, "__len__"):
            return self.encode(it.item())
        if type(it) is int:
            return {"int": hex(it)}
        for plain in PLAIN:
            if isinstance(it, plain):
                return self.encode(plain(it))
        if hasattr(type(it), "__next__"):
            return {"iterator": [self.encode(one) for one, _ in zip(it, range(MANY))]}  # noqa: B905
        return self._encode_named(it) or {"mine": self._lend(it)}

    def _encode_named(self, it: Any) -> Any:  # any: likewise
        """Return data for what both sides have under a name; None if it has none."""
        if isinstance(it, bytes):
            return {"bytes": it.hex()}
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

    def _lend(self, it: object) -> int:
        self._lent.append(it)
        return len(self._lent) - 1

    def decode(self, data: Any) -> Any:  # any: whatever was encoded
        """Return the value, made anew of plain data."""
        if isinstance(data, list):
            return self._decode_all(data)
        if not isinstance(data, dict):
            return data
        ((kind, inside),) = data.items()
        if kind == "pieces":
            return self._pieces.pop(inside)
        if kind in COLLECTIONS:
            return COLLECTIONS[kind](self.decode(inside))
        return self._decode_rarer(kind, inside)

    def _decode_all(self, data: list[Any]) -> list[Any]:  # any: likewise
        kinds = set(map(type, data))
        if kinds == {str}:
            return list(map(sys.intern, data))  # a text that comes a million times is there once
        return data if kinds <= AS_THEY_ARE else list(map(self.decode, data))

    def _decode_rarer(self, kind: str, inside: Any) -> Any:  # any: likewise
        match kind:
            case "dict":
                return {self.decode(key): self.decode(value) for key, value in inside}
            case "int":
                return int(inside, 16)
            case "bytes":
                return bytes.fromhex(inside)
            case "type":
                it = getattr(builtins, inside)
                return it if isinstance(it, type) else None
            case "module" if inside in sys.stdlib_module_names:
                return __import__(inside)
            case "made" if inside[0] in MADE_OF:
                module, _, name = inside[0].rpartition(".")
                return getattr(__import__(module), name)(*self.decode(inside[1]))
            case "iterator":
                return iter(self.decode(inside))
            case "mine":
                return self._handle(inside)
            case "yours":
                return self._lent[inside]
        raise ValueError(f"no value is of kind {kind!r}")

    def _handle(self, number: int) -> Any:  # any: it stands for a value
        it = Remote(self, number)
        return (lambda *args, **named: it(*args, **named)) if self.values else it


class Remote:
    """A handle for what stays in the other process: it is called, read and set there.

    It is never compared there: whether a result is right is not for the program to say.
    """

    __slots__ = ("_acts", "_items", "_number", "_peer")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_acts", -1)

    def __call__(self, *args: object, **named: object) -> Any:  # any: whatever it gives
        """Call it."""
        peer = object.__getattribute__(self, "_peer")
        return peer.ask("call", peer.encode(self), peer.encode(args), peer.encode(named))

    def __iter__(self) -> Iterator[Any]:  # any: likewise
        """Go through its items, as they were read since it last could change."""
        peer = object.__getattribute__(self, "_peer")
        if object.__getattribute__(self, "_acts") != peer.acts:
            object.__setattr__(self, "_items", list(_on(self, "items")))
            object.__setattr__(self, "_acts", peer.acts)
        return iter(object.__getattribute__(self, "_items"))

    def __contains__(self, item: object) -> bool:
        """Look among its items."""
        return item in iter(self)

    def __len__(self) -> int:
        """Count its items; take its word where they cannot be read, or are too many."""
        told: int | None = _on(self, "length")
        if told is None:
            raise TypeError("the program's object has no length")
        try:
            count = len(list(iter(self)))
        except Exception:  # it is no collection, or a mapping without `__iter__`
            return told
        return told if count == MANY else count

    def __bool__(self) -> bool:
        """Say whether it has items, or has no length."""
        return _on(self, "length") is None or len(self) > 0

    def __getattr__(self, name: str) -> Any:  # any: whatever it has
        """Read one of its attributes."""
        if name.startswith("__"):
            raise AttributeError(name)
        return _on(self, "get", name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set one of its attributes."""
        _on(self, "set", name, value)


def _on(remote: Remote, verb: str, *args: object) -> Any:  # any: likewise
    peer = object.__getattribute__(remote, "_peer")
    return peer.ask(verb, *map(peer.encode, (remote, *args)))


def _forward(name: str) -> Callable[..., Any]:
    def call(self: Remote, *args: object) -> Any:  # any: likewise
        return _on(self, "get", name)(*args)

    return call


for special in ("getitem", "setitem", "str"):
    setattr(Remote, f"__{special}__", _forward(f"__{special}__"))


class Program(Peer):
    """The tests' process, as the program's own sees it: it may do whatever it likes there."""

    def do(self, verb: str, *args: Any) -> object:
        """Do one thing for the tests."""
        thing, *rest = map(self.decode, args)
        match verb:
            case "run":
                module = type(sys)("program")
                sys.modules["program"] = module
                exec(compile(thing, "program", "exec"), vars(module))
                return module
            case "get":
                return getattr(thing, *rest)
            case "set":
                setattr(thing, *rest)
                return None
            case "items":
                return list(islice(iter(thing), MANY))
            case "length":
                return len(thing) if hasattr(type(thing), "__len__") else None
            case _:
                return thing(*rest[0], **rest[1])


def start() -> Peer:
    """Fork off the process that is to hold the program, and return it."""
    (asked, asks), (told, tells) = os.pipe(), os.pipe()
    if os.fork():
        os.close(asked)
        os.close(tells)
        return Peer(open(told, "rb"), open(asks, "wb"))
    try:
        os.close(asks)
        os.close(told)
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        Program(open(asked, "rb"), open(tells, "wb")).serve()  # noqa: SIM115
    finally:
        os._exit(1)


def judge(peer: Peer, job: Any) -> Any:
    """Run the program, then each suite of tests; return what came of them."""
    space: dict[str, object] = {"__name__": "tests", "__builtins__": builtins}
    try:
        exec(compile(job["before"], "before", "exec"), space)
        suites = {name: compile(text, name, "exec") for name, text in job["suites"].items()}
    except Exception as error:
        return {"broken": _told(error)}
    try:
        program = peer.ask("run", job["program"])
        needed = {name for code in suites.values() for name in _names(code)}
        needed -= space.keys() | vars(builtins).keys()
        for name in sorted(needed & set(job.get("lends", ())) | ({job["entry"]} - {None})):
            _lend(program, name, space)
        peer.values = job.get("values", False)
    except Exception as error:
        return {"suites": dict.fromkeys(suites, f"the program fails: {_told(error)}")}
    for name in (needed - space.keys()) & sys.stdlib_module_names:
        with suppress(ImportError):  # not on this system
            space[name] = __import__(name)
    return {
        "suites": {
            name: _fault(code, dict(space), job["suites"][name]) for name, code in suites.items()
        }
    }


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that code, or a function in it, may take for a global one."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, type(code)):
            yield from _names(const)


def _lend(program: Any, name: str, space: dict[str, object]) -> None:
    """Show the tests something that the program defines, where it does."""
    try:
        space[name] = getattr(program, name)
    except AttributeError:  # the tests that need it will say so
        space.pop(name, None)


def _fault(code: CodeType, space: dict[str, object], text: str) -> str | None:
    """Run tests; return what was wrong, or None."""
    try:
        exec(code, space)
    except BaseException as error:  # whatever it is, the tests did not come to their end
        line, trace = 0, error.__traceback__
        while trace is not None:
            line = (
                trace.tb_lineno if trace.tb_frame.f_code.co_filename == code.co_filename else line
            )
            trace = trace.tb_next
        shown = text.splitlines()[line - 1].strip()[:300] if line else ""
        return f"{_told(error)} at line {line}: {shown}"
    return None


def _told(error: BaseException) -> str:
    try:
        return ": ".join(filter(None, (type(error).__name__, str(error)[:1000])))
    except Exception:  # it says something of the program's
        return type(error).__name__


def _error(name: str, message: str) -> Exception:
    """Return an exception of that name, if Python has one; none that would end a loop of tests."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind not in ENDS:
        try:
            return kind(message)
        except TypeError:  # it is not made of a text
            pass
    return RuntimeError(f"{name}: {message}".removesuffix(": "))


def main() -> None:
    """Judge the job on stdin, and say on stdout what came of it: nothing else is said there."""
    sys.set_int_max_str_digits(0)  # a result may be a long number
    other = start()
    stdout = os.dup(1)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    os.write(stdout, json.dumps(judge(other, json.load(sys.stdin))).encode() + b"\n")


if __name__ == "__main__":
    main()
