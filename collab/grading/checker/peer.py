"""The conversation of the two processes, as the tests' process leads it."""

from __future__ import annotations

import builtins
import json
import sys

from collab.grading.checker.coder import Coder
from collab.grading.checker.flow import Ahead, step
from collab.grading.checker.in_place import has_containers, write_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO, NoReturn

INPUT, STDIN = input, sys.stdin
SHORT = 10_000
"""The number of messages, and of bytes of each, that are logged."""
CHANGES = frozenset(("call", "set", "delete", "exit", "await", "aexit"))
"""What may change an object there."""


class Peer(Coder):
    """The other process."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        super().__init__()
        self._reads = reads
        self._writes = writes
        self._depth = 0
        self._ahead = Ahead()
        self._kept = 0
        self.suite = ""
        """The file name of the tests that are run."""
        self.is_on_purpose: Callable[[BaseException], bool] = lambda _: False
        """Whether tests raise an exception on purpose, for a `with` block of the program's."""
        self.noted: set[int] = set()
        """The lines of the tests at which something could not be carried over."""
        self.acts = 0
        """The number of requests that may have changed an object there."""
        self.asked: dict[int, int] = {}
        """The level of the objects that a class makes, by the number of the class."""
        self.in_place = False
        """Whether changed arguments count even if a call gives a result."""
        self.gave = False
        """Whether a call handed over anything that can be changed in place."""
        self.log: list[bytes] | None = None
        """All messages, if they are kept."""

    def ask(self, verb: str, thing: Any, *args: Any) -> Any:  # any: whatever it says
        """Have the other process do something, and return the result.

        Raises:
            Exception: What was raised there, or EOFError if that process has ended.
        """
        self.acts += verb in CHANGES
        call = args if verb == "call" else None
        self.gave = self.gave or (call is not None and has_containers(call))
        changed: list[Any] = []  # any: plain data
        self._depth += 1
        try:
            self._send([verb, self.encode(thing), *map(self.encode, args)])
            while True:
                match self._receive():
                    case ["gives", data]:
                        return self._given(data, call, changed)
                    case ["raises", *told]:
                        self.objects.settle(in_place=self.in_place)
                        raise self.errors.decode(*told)
                    case ["prints", str(text)]:
                        sys.stdout.write(text)
                    case ["changed", data]:
                        changed = [data]
                    case [str(verb), *asked]:
                        self._serve(verb, *asked)
                    case message:
                        raise ValueError(f"the program says {message!r}")
        finally:
            self._leave()

    def _given(self, data: Any, call: Any, changed: list[Any]) -> Any:  # any: as in `ask`
        """Return a result; the tests' own objects change only in a call that gives None.

        Otherwise a program could change what its result is compared with.
        """
        in_place = self.in_place or (call is not None and data is None)
        self.objects.settle(in_place=in_place)
        if in_place and call is not None and changed:
            write_back(call, self.decode(changed[0]))
        return self.decode(data)

    def serve(self) -> NoReturn:
        """Do what the other process asks for, until it ends."""
        while True:
            self._serve(*self._receive())

    def _serve(self, verb: str, *args: Any) -> None:
        self._depth += 1
        try:
            self._send(self._answer(verb, *args))
        finally:
            self._leave()

    def _answer(self, verb: str, *args: Any) -> list[Any]:  # any: plain data
        try:
            self.objects.settle(in_place=self.in_place)
            return ["gives", self.encode(self.do(verb, *args))]
        except BaseException as error:  # a program may raise anything; its tests learn of it
            return ["raises", *self.errors.encode(error)]

    def do(self, verb: str, *args: Any) -> object:
        """Do one thing for the program: read input, or use what the tests handed over.

        Only functions can be called: a class could make an object that equals everything.

        Raises:
            ValueError: The program may not do that.
        """
        if verb == "read":
            return _line(str(args[0]))
        lent, *rest = args
        if not isinstance(lent, dict) or lent.keys() != {"yours"}:
            raise ValueError(f"the program may not {verb} this")
        it = self.decode(lent)
        if verb == "call" and not isinstance(it, type):
            positional, named = map(self.decode, rest)
            return it(*positional, **named)
        if type(it).__name__ == "coroutine" and verb == "await":
            return _waited(it)
        if verb in ("next", "throw", "take") and hasattr(type(it), "__next__"):
            return self.proceed(verb, it, *map(self.decode, rest))
        raise ValueError(f"the program may not {verb} this")

    def proceed(self, verb: str, it: Any, given: Any) -> list[Any]:  # any: an iterator, and items
        """Read an iterator of this process."""
        match verb:
            case "next":
                return step(lambda: next(it) if given is None else it.send(given))
            case "throw":
                return step(lambda: it.throw(given))
        return self._ahead.take(it, int(given))

    def _leave(self) -> None:
        """Forget the objects that crossed, at the end of an exchange."""
        self._depth -= 1
        if self._depth == 0:
            self.objects.clear()

    def _send(self, message: Any) -> None:
        """Send a message after the fields of the objects that it names."""
        for fields in self.objects.queued():
            self.gave = True
            self.say(fields)
        self.say(message)

    def say(self, message: Any) -> None:  # any: plain data
        """Send a message."""
        line = json.dumps(message).encode() + b"\n"
        self._keep(line)
        self._writes.write(line)
        self._writes.flush()

    def _receive(self) -> Any:  # any: plain data
        while (line := self._reads.readline()).endswith(b"\n"):
            self._keep(line)
            match json.loads(line):
                case ["piece", int(number), [*some]]:
                    self.keep_piece(number, some)
                case ["object", str(name), str(kind), [*fields]]:
                    self.objects.hear(name, kind, dict(fields))
                case message:
                    return message
        raise EOFError("the program has ended early")

    def _keep(self, line: bytes) -> None:
        """Log a message; drop the log once it is long."""
        if self.log is not None:
            self.log.append(line)
            if len(line) > SHORT or len(self.log) > SHORT:
                self.log = None

    def note(self, reason: str) -> None:
        """Note what could not be carried over, and at which lines of the tests."""
        super().note(reason)
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename == self.suite:
                self.noted.add(frame.f_lineno)
            frame = frame.f_back  # type: ignore[assignment]  # None at the end

    def has_objects(self) -> bool:
        """Return whether objects of the program's own came over since the suite began."""
        return any(number >= self._kept for number in self._handles)

    def begin(self, suite: str, *, watched: bool) -> None:
        """Begin with a suite of tests; short ones are watched, as they may be run twice."""
        self.suite = suite
        self.lent.mark()
        self._kept = self.ask("begin", None, watched)
        self._restart(watched=watched)

    def again(self) -> None:
        """Begin with the same suite again: both sides count as they did before."""
        self.ask("again", None)
        self.forget(self._kept)
        self.lent.rewind()
        self._restart(watched=True)

    def _restart(self, *, watched: bool) -> None:
        self.log = [] if watched else None
        self.reason, self.gave = None, False
        self.noted.clear()


def _line(prompt: str) -> str:
    """Return what tests put in place of the keyboard's next line; never this process's own."""
    if builtins.input is INPUT and sys.stdin is STDIN:
        raise EOFError("EOF when reading a line")
    return str(input(prompt))


def _waited(it: Any) -> Any:  # any: a coroutine, and its result
    """Wait for a coroutine of the tests, whose own event loop is busy."""
    import asyncio
    from threading import Thread

    found: list[Callable[[], Any]] = []

    def run() -> None:
        try:
            result = asyncio.run(it)
            found.append(lambda: result)
        except BaseException as error:
            found.append(_raising(error))

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return found[0]()


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def run() -> NoReturn:
        raise error

    return run
