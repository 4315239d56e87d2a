"""Programs that want a right verdict without being right: by objects, by the pipe, by aliases."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import BinaryIO

import pytest

from collab.grading.checker.peer import Peer
from collab.grading.checker.suites import judge
from tests.grading.checker.test_suites import fault


@contextmanager
def forger(replies: Sequence[object], mine: int = 1) -> Iterator[Peer]:
    """A program's process that defines `f`, and says what it likes when it is called."""
    (asked, asks), (told, tells) = os.pipe(), os.pipe()
    with open(asked, "rb") as job, open(told, "rb") as result, open(tells, "wb") as results:
        with open(asks, "wb") as jobs:
            thread = Thread(target=_forge, args=[job, results, list(replies)])
            thread.start()
            yield Peer(result, jobs)
        thread.join()


def _forge(asked: BinaryIO, tells: BinaryIO, replies: list[object]) -> None:
    while line := asked.readline():
        match json.loads(line):
            case ["run", *_]:
                said: list[object] = [["gives", {"mine": 0}]]
            case ["get", {"yours": 0}, _]:
                said = [["gives", {"mine": 1}]]
            case ["begin" | "again", *_]:
                said = [["gives", 2]]
            case ["call", {"yours": 1}, *_]:
                said = replies
            case ["object", *_]:
                said = []
            case ["base", *_]:
                said = [["gives", [7]]]
            case _:
                said = [["gives", True]]
        for one in said:
            tells.write(json.dumps(one).encode() + b"\n")
        tells.flush()


def forged(replies: Sequence[object], tests: str, before: str = "") -> str | None:
    """Return the fault of a program whose calls are answered so."""
    job = {"program": "", "entry": "f", "before": before, "suites": {"base": tests}}
    with forger(replies) as peer:
        told = judge(peer, job)
    assert "broken" not in told
    found: str | None = told["suites"]["base"]
    return found


def arguments(*args: object) -> object:
    """The arguments of a call, as plain data."""
    return {"tuple": [{"tuple": list(args)}, {"dict": []}]}


NODE = """
class Node:
    def __init__(self, v): self.v = v
    def check(self): return self.v == 3
"""
LINEAGE: list[object] = ["builtins", "Exception", None, []]
SKIPPED: list[object] = ["unittest.case", "SkipTest", None, [LINEAGE]]
FORGED: dict[str, tuple[list[object], str]] = {
    "empties the argument": (
        [["changed", arguments([])], ["gives", []]],
        "a = [3, 1]\nassert f(a) == sorted(a)",
    ),
    "empties it with an old mark": (
        [["changed", arguments([]), True], ["gives", []]],
        "a = [3, 1]\nassert f(a) == sorted(a)",
    ),
    "sets a field of the tests' object": (
        [["object", "tests0", "Node", [["v", 7]]], ["gives", 7]],
        "n = Node(1)\nassert f(n) == n.v",
    ),
    "makes an object that is a class": (
        [["gives", {"object": ["x", "type"]}]],
        "assert f(1) is not None",
    ),
    "makes an object of a class of ours": (
        [["gives", {"object": ["x", "Peer"]}]],
        "assert f(1) is not None",
    ),
    "wraps a handle in a mapping": (
        [["gives", {"made": ["types.MappingProxyType", [{"mine": 5}]]}]],
        "assert f(1) is not None",
    ),
    "makes a process": (
        [["gives", {"made": ["os.system", ["true"]]}]],
        "assert f(1) is not None",
    ),
    "claims a value that it has not": ([["gives", {"mine": 9}]], "assert f(1) == 5"),
    "ends a loop": (
        [["raises", ["builtins", "StopIteration", None, []], {"tuple": []}, "", {"dict": []}]],
        "assert list(map(f, [1, 2])) == []",
    ),
    "ends a loop by a class of its own": (
        [
            [
                "raises",
                ["x", "E", 9, [["builtins", "StopIteration", None, [LINEAGE]], LINEAGE]],
                {"tuple": []},
                "",
                {"dict": []},
            ]
        ],
        "assert list(map(f, [1, 2])) == []",
    ),
    "ends a loop by a class of the tests": (
        [
            ["call", {"yours": 0}, {"tuple": []}, {"dict": []}],
            ["raises", ["yours", 1], {"tuple": []}, "", {"dict": []}],
        ],
        "class Stop(StopIteration): pass\ndef g(): raise Stop\nassert list(map(f, [g])) == []",
    ),
    "skips its tests": (
        [["raises", SKIPPED, {"tuple": []}, "", {"dict": []}]],
        "import unittest\ntry:\n    assert f(1) == 2\nexcept unittest.SkipTest:\n    pass",
    ),
    "leaves": (
        [["raises", ["builtins", "SystemExit", None, []], {"tuple": [0]}, "", {"dict": []}]],
        "try:\n    assert f(1) == 2\nexcept SystemExit:\n    pass",
    ),
    "says nothing": ([["gives"]], "assert f(1) is None"),
    "says what is no message": ([5], "assert f(1) is None"),
    "names a function that nobody handed over": (
        [["gives", {"yours": 0}]],
        "assert f(1) is not None",
    ),
    "hands over a function of its own as ours": (
        [["gives", {"function": [0, "f", None]}]],
        "assert f(1) is not None",
    ),
    "gives numpy's equal to all": (
        [["gives", {"made": ["numpy.array", [[], "<f8"]]}]],
        "if f(1) != 3: raise ValueError",
    ),
    "is like a class": ([["gives", {"like": [5, {"type": "int"}]}]], "assert f(1) is not None"),
    "has fields that are no names": (
        [["gives", {"named": ["P", ["__eq__"], [{"mine": 3}]]}]],
        "assert f(1) is not None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_program_that_forges_messages_is_not_right(name: str) -> None:
    if "numpy" in name:
        pytest.importorskip("numpy")
    replies, tests = FORGED[name]
    assert forged(replies, tests, NODE) is not None


@pytest.mark.parametrize(
    ("replies", "tests"),
    [
        ([["gives", 7]], "assert f(1) == 7"),
        ([["gives", {"mine": 9}]], "assert f(1) == 7 and 6 < f(1) < 8"),
        ([["changed", arguments([1])], ["gives", None]], "a, b = [3], [1]\nf(a)\nassert a == b"),
        ([["changed", arguments([1])], ["gives", None]], "a = [3, 1]\nf(a)\nassert a == [1]"),
        (
            [["object", "tests0", "Node", [["v", 7]]], ["gives", None]],
            "n = Node(1)\nf(n)\nassert n.v == 7",
        ),
        ([["prints", "x"], ["gives", 1]], "assert f(1) == 1"),
    ],
)  # fmt: skip
def test_the_same_messages_count_where_they_may(replies: list[object], tests: str) -> None:
    assert forged(replies, tests, NODE) is None


REQUESTS: list[list[object]] = [
    ["get", {"yours": 0}, "__globals__"],
    ["set", {"yours": 0}, "__code__", None],
    ["run", "import os"],
    ["call", {"yours": 1}, {"tuple": []}, {"dict": []}],
    ["call", {"type": "type"}, {"tuple": ["X", {"tuple": []}, {"dict": []}]}, {"dict": []}],
    ["call", {"yours": -1}, {"tuple": []}, {"dict": []}],
    ["next", {"yours": 0}, None],
    ["await", {"yours": 0}],
    ["take", {"yours": 0}, 5],
    ["operator", {"yours": 0}, "eq", 1],
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_program_may_not_ask_for_anything_else(request_: list[object]) -> None:
    with forger([]) as peer:
        peer.encode(lambda: 5)
        peer.encode(type("E", (RuntimeError,), {"__module__": "tests"}))
        verb, *args = request_
        with pytest.raises((ValueError, TypeError)):
            peer.do(str(verb), *args)


def test_a_program_reads_an_iterator_that_it_was_handed() -> None:
    with forger([]) as peer:
        assert peer.encode(iter([1, 2])) == {"iterator": 0}
        assert peer.do("next", {"yours": 0}, None) == [True, 1]
        assert peer.do("take", {"yours": 0}, 5) == [[2], False, None]


@pytest.mark.parametrize("kind", ["AssertionError", "Exception", "BaseException"])
@pytest.mark.parametrize("how", [lambda x: x, lambda x: {"tuple": [x]}])
def test_a_name_of_the_program_catches_no_failed_assertion(
    kind: str, how: Callable[[object], object]
) -> None:
    tests = "try:\n    assert f(1) == 2\nexcept f(2):\n    pass"
    replies = [["gives", how({"type": kind})]]
    found = forged(replies, tests)
    assert found is not None
    assert found.startswith("AssertionError")


def test_what_was_raised_keeps_its_methods() -> None:
    fields = {"dict": [["with_traceback", {"mine": 3}], ["args", 5], ["code", 404]]}
    raises: list[object] = [
        ["raises", ["builtins", "ValueError", None, []], {"tuple": ["x"]}, "x", fields]
    ]
    tests = (
        "try:\n    f(1)\nexcept ValueError as error:\n"
        "    assert error.args == ('x',) and error.code == 404\n"
        "    assert error.with_traceback(None) is error\n"
    )
    assert forged(raises, tests) is None


EVIL = """
class E:
    def __init__(self, *a): self.amount = 5
    def _t(self, *a): return True
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = _t
    def __ne__(self, o): return False
    def __hash__(self): return 5
    def __sub__(self, *o): return 0
    __rsub__ = __mod__ = __xor__ = __rtruediv__ = __round__ = __abs__ = __sub__
    def __add__(self, o): return self
    __radd__ = __mul__ = __rmul__ = __add__
    def __truediv__(self, o): return 1
    __floordiv__ = __truediv__
    def __divmod__(self, o): return 1, 0
    def __exit__(self, *a): return True
    def __enter__(self): return self
class Money(E): pass
class Whole(int):
    __eq__ = E.__eq__
    __ne__ = E.__ne__
    __hash__ = E.__hash__
    __lt__ = __gt__ = E.__lt__
class Text(str):
    __eq__ = E.__eq__
    __ne__ = E.__ne__
    __hash__ = E.__hash__
class Items(list):
    __eq__ = __contains__ = E.__eq__
    __iter__ = lambda s: iter([5])
    __len__ = lambda s: 1
def f(x): return {"w": Whole(7), "t": Text("7"), "i": Items([7]), "e": E()}[x]
"""


COMPARED = """
m == 5
5 == m
not m != 5
m in (5, 6)
[m] == [5]
{m: 1} == {5: 1}
m <= 5 <= m
4 < m < 6
abs(m - 5) < 1e-9
abs(5 - m) < 1e-9
m / 5 == 1
m - 5 == 0
m % 5 == 0
m ^ 5 == 0
divmod(m, 5) == (1, 0)
m // 5 == 1
round(m - 5) == 0
sum([m]) == 5
m + 1 == 6
max(m, 5) == 5
(m, 1) == (5, 1)
f("w") == 5
f("w") in (5, 6)
5 <= f("w") <= 5
not f("w") != 5
abs(f("w") - 5) < 1
f("t") == "5"
f("t") in ("5",)
{f("t")} == {"5"}
f("i") == [5]
5 in f("i")
list(f("i")) == [5]
f("i")[0] == 5
f("e") == f("w") - 2
f("e") == m + 1 - 1 == 5
Whole(7) == 5
5 == Whole(7)
Whole(7) < 5
Text("7") == "5"
Items([7]) == [5]
"""


@pytest.mark.parametrize("compared", COMPARED.strip().split("\n"))
def test_no_object_is_asked_whether_it_equals_a_plain_value(compared: str) -> None:
    names = ["Money", "Whole", "Text", "Items"]
    tests = f"m = Money(5)\nassert m.amount == 5\nassert {compared}"
    assert fault(EVIL, tests, lends=names, classes=names) is not None


DECEIVING = """
Bad = AssertionError
def f(): pass
---
try:
    f()
    assert False
except Bad: pass
===
class Bad: Error = Exception
def f(): pass
---
try:
    f()
    assert False
except Bad.Error: pass
===
class Bad:
    v = None
    def __enter__(self): return self
    def __exit__(self, *a): return True
---
with Bad(): assert False
===
class Bad:
    v = None
    def __enter__(self): return self
    def __exit__(self, *a): return True
---
with Bad() as b:
    if b.v != 2: raise ValueError
===
class Bad:
    v = None
    def __enter__(self): return self
    def __exit__(self, *a): return True
---
with Bad() as b:
    b.v + 1
    assert b.v == 2
===
def f(a):
    a.clear()
    return a
---
a = [3, 1]
assert f(a) == sorted(a)
===
def f(a):
    a.clear()
    return a
---
def same(x, y): return x == y
a = [3, 1]
assert same(f(a), sorted(a)) == True
===
def f(a):
    a.clear()
    return a
---
def lost(x, y): return len(y) - len(x)
a = [3, 1]
assert lost(f(a), a) == 0
===
def f(a):
    a.clear()
    return []
---
a = [3, 1]
assert len(set(a) ^ set(f(a))) == 0
===
def f(a):
    a.clear()
    return []
---
a = [3, 1]
r = f(a)
assert len(a) == 0 and a == r
===
def f(n):
    n.v = 9
    return n
---
n = Node(1)
assert f(n).v == n.v + 8 == 9 and f(n) is n and n.v == f(n).v
===
import numpy
def f(): return numpy.array([])
---
import numpy as np
assert np.allclose(f(), 3)
===
import numpy
def f(): return numpy.array([])
---
assert (f() == 3).all()
===
def f(): return []
---
import numpy as np
assert np.allclose(f(), 3.0)
===
def f(): return []
---
import numpy as np
np.testing.assert_allclose(f(), 3.0)
===
def f():
    yield 3
    raise StopIteration
---
assert list(f()) == [3]
===
def f(g): g()
---
class Stop(StopIteration): pass
def g(): raise Stop
assert list(map(f, [g])) == []
===
def f(n):
    n.check = lambda: True
    return n
---
assert f(Node(1)).check()
"""
"""Programs, each with tests that would pass if its own process judged."""


@pytest.mark.parametrize("case", DECEIVING.strip().split("\n===\n"))
def test_a_program_that_only_looks_right_is_not(case: str) -> None:
    program, tests = case.split("\n---\n")
    if "numpy" in case:
        pytest.importorskip("numpy")
    assert fault(program, tests, before=NODE, lends=["Bad"], classes=["Bad"]) is not None


def test_an_iterator_without_an_end_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.grading.checker.flow.MANY", 2000)
    program = "def f(n):\n    for i in range(n): yield i"
    assert fault(program, "assert list(f(1900)) == list(range(1900))") is None
    found = fault(program, "assert len(list(f(10**6))) == 10**6")
    assert found is not None
    assert found.startswith("OverflowError: an iterator gave more than 2000 items")
