"""Exceptions: their classes with all ancestors, their arguments, text and fields."""

from __future__ import annotations

import builtins
import sys

from collab.grading.checker.flow import ENDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHARED = frozenset(
    (
        *("asyncio.exceptions", "binascii", "configparser", "csv", "dataclasses", "decimal"),
        *("graphlib", "json.decoder", "queue", "re", "shutil", "socket", "sqlite3", "statistics"),
        *("struct", "subprocess", "urllib.error", "xml.etree.ElementTree", "zipfile", "zlib"),
        *("zoneinfo._common", "numpy.linalg", "numpy.exceptions", "numpy"),
    )
)
"""The modules whose exceptions both sides have; none of them changes how tests are run."""
LONGEST = 1000
"""The number of characters of an exception's text that cross."""


class Errors:
    """Encodes and decodes exceptions for one side."""

    def __init__(self, coder: Any) -> None:  # any: a Coder, which imports this module
        self._coder = coder
        self.kinds: dict[int, Any] = {}  # any: classes by the other side's number
        self._stand_ins: dict[Any, Any] = {}  # any: classes

    def lineage(self, kind: Any) -> Any:  # any: a class, and plain data
        """Return the name of a class, its number if it is this side's own, and its bases."""
        for number, known in self.kinds.items():
            if known is kind:
                return ["yours", number]
        own = kind.__module__ == self._coder.home
        bases = [self.lineage(base) for base in kind.__bases__ if issubclass(base, BaseException)]
        lent = self._coder.lent.number(kind) if own else None
        return [kind.__module__, kind.__name__, lent, bases]

    def encode(self, error: BaseException) -> list[Any]:  # any: plain data
        """Return plain data for an exception: its class, arguments, text, fields and cause."""
        try:
            text = str(error)[:LONGEST]
            args = error.args
            if isinstance(error, OSError) and error.filename is not None:
                args = (error.errno, error.strerror, error.filename)
            fields = {k: v for k, v in vars(error).items() if not k.startswith("_")}
            parts = [self._coder.encode(tuple(args)), text, self._coder.encode(fields)]
            parts.append(self._coder.encode(error.__cause__))
        except Exception:  # it is made to fail
            parts = [{"tuple": []}, "", {"dict": []}, None]
        return [self.lineage(type(error)), *parts]

    def kind(self, lineage: Any) -> Any:  # any: plain data, and a class or None
        """Return the class of an exception: the one both sides have, or one made anew."""
        if lineage[0] == "yours":
            lent = self._coder.lent.thing(lineage[1])
            return lent if isinstance(lent, type) and issubclass(lent, Exception) else None
        module, name, number, bases = lineage
        if number is None:
            if getattr(builtins, name, None) in ENDS:
                return None
            return _shared(module, name) or next(filter(None, map(self.kind, bases)), None)
        if number not in self.kinds:
            ours = tuple(filter(None, map(self.kind, bases)))
            if not ours:
                return None
            self.kinds[number] = type(name, ours, {"__str__": _text, "__module__": "tests.made"})
        return self.kinds[number]

    def safe(self, kind: Any) -> Any:  # any: classes
        """Return a class, or a new one below it if it would catch the failure of an assertion."""
        if self._coder.home == "program" or kind is object or not issubclass(AssertionError, kind):
            return kind
        return self._stand_ins.setdefault(kind, type(kind.__name__, (kind,), {}))

    def decode(
        self, lineage: Any, args: Any, text: str, fields: Any, cause: Any = None
    ) -> Exception:
        """Return an exception like that of the other side; never one that ends a loop of tests."""
        try:
            return self._made(self.kind(lineage), self._coder.decode(args), text, fields, cause)
        except Exception:  # it is no exception for tests, or not made of that
            name = lineage[1] if isinstance(lineage[1], str) else "error"
            return RuntimeError(f"{name}: {text}".removesuffix(": "))

    def _made(self, kind: Any, args: Any, text: str, fields: Any, cause: Any) -> Exception:
        error = kind.__new__(kind, *args)
        if kind.__module__ == "builtins":
            kind.__init__(error, *args)
        if not isinstance(error, Exception) or isinstance(error, ENDS):
            raise TypeError("it would end the tests")
        for name, it in self._coder.decode(fields).items():
            if not name.startswith("_") and not hasattr(BaseException, name):
                setattr(error, name, it)
        error.__dict__["_text"] = text
        error.__cause__ = self._coder.decode(cause)
        return error


def _text(error: Exception) -> str:
    """Return the text of an exception of the program's own."""
    text = vars(error).get("_text")
    return text if type(text) is str else Exception.__str__(error)


def _shared(module: str, name: str) -> Any:  # any: a class, or None
    """Return an exception's class that both sides have, if it may be raised among tests."""
    if module not in ("builtins", *SHARED):
        return None
    if module.startswith("numpy") and module not in sys.modules:
        return None
    kind = getattr(__import__(module, fromlist=["*"]), name, None)
    fits = isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, ENDS)
    return kind if fits else None
