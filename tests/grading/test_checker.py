"""The checker's two sides in one process: what they say does not depend on the sandbox."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from collab.grading.checker import Peer, Program, judge


@contextmanager
def peers() -> Iterator[tuple[Peer, Program]]:
    """The two sides, the program's being served in a thread."""
    (asked, asks), (told, tells) = os.pipe(), os.pipe()
    with open(asked, "rb") as job, open(told, "rb") as result, open(tells, "wb") as results:
        with open(asks, "wb") as jobs:
            ours, theirs = Peer(result, jobs), Program(job, results)
            thread = Thread(target=_serve, args=[theirs])
            thread.start()
            yield ours, theirs
        thread.join()


def _serve(program: Program) -> None:
    with suppress(EOFError):
        program.serve()


def fault(program: str, tests: str, before: str = "", entry: str = "f") -> str | None:
    """Return what is wrong with a program by its tests."""
    job = {"program": program, "entry": entry, "before": before, "suites": {"base": tests}}
    with peers() as (ours, _):
        told = judge(ours, job)
    assert "broken" not in told
    found: str | None = told["suites"]["base"]
    return found


RIGHT = r"""
def f(x): return x + 1
---
assert f(1) == 2 and f(0.5) == 1.5
===
def f(x): return x
---
for x in (None, True, 10**5000, -(2**256), "é\ud800", b"a", 2j, -0.0, 1e400):
    assert f(x) == x
for x in ((1, [2]), {3}, frozenset("a"), {(4,): {}}):
    assert f(x) == x
x = f((1, [2]))
assert type(x) is tuple and type(x[1]) is list
===
def f(x): return repr(x)
---
assert f({1: (2, 3)}) == "{1: (2, 3)}"
===
f = lambda *a, k=1: (a, k)
---
assert f(1, 2, k=3) == ((1, 2), 3)
===
def f(t, x): return t(x)
---
assert f(str, 3) == "3" and f(list, "ab") == ["a", "b"]
===
def f(): return str
---
assert f() is str
===
def f(g, x): return g(g(x))
---
assert f(lambda x: x * 2, 3) == 12
===
def f(g): return g
---
g = lambda: 5
assert f(g) is g
===
def f(x): return lambda y: x + y
---
assert f(1)(2) == 3
===
def f(g):
    try:
        g()
    except KeyError as error:
        return error.args
---
def g(): raise KeyError("k")
assert f(g) == ("'k'",)
===
def f(x): yield from range(x)
---
it = f(3)
assert next(it) == 0 and list(it) == [1, 2]
assert f(1) != [0]
===
def f(x): return range(x), bytearray(b"a")
---
assert f(3) == (range(3), bytearray(b"a"))
===
import math
def f(x): return math.sqrt(x)
---
assert math.isclose(f(4), 2)
===
import re
def f(x): return re.match("a", x)
---
assert f("ab") and not f("b") and f("ab").end() == 1
===
class Node:
    def __init__(self, value): self.value = value
def f(node): return node.next.value
---
a, a.next = Node(1), Node(2)
assert f(a) == 2 and a.next.value == 2
===
class Stack(list):
    pass
def f(): return Stack([1, 2])
---
assert f() == [1, 2]
===
class Bag:
    def __init__(self): self.dict = {}
    def __getitem__(self, key): return self.dict[key]
    def __setitem__(self, key, value): self.dict[key] = value
    def __len__(self): return len(self.dict)
    def __contains__(self, key): return key in self.dict
    def __iter__(self): return iter(self.dict)
    def __str__(self): return "bag"
f = Bag
---
bag = f()
bag["x"] = 1
assert bag["x"] == 1 and len(bag) == 1 and "x" in bag and list(bag) == ["x"]
assert str(bag) == "bag"
===
def f(x): raise ValueError("no")
---
try:
    f(1)
except ValueError as error:
    assert str(error) == "no"
else:
    assert False
===
class Own(Exception): pass
def f(): raise Own("no")
---
try:
    f()
except RuntimeError as error:
    assert str(error) == "Own: no"
else:
    assert False
===
def f(): b"\xff".decode()
---
try:
    f()
except RuntimeError as error:
    assert "UnicodeDecodeError" in str(error)
else:
    assert False
===
f = 3
---
assert f == 3
===
from collections import *
def f(): return [Counter("aab"), OrderedDict(a=1), defaultdict(int, a=1), deque([1], 2)]
---
from collections import *
assert f() == [Counter("aab"), {"a": 1}, {"a": 1}, deque([1])]
===
from datetime import *
def f(): return [date(2020, 1, 2), datetime(2020, 1, 2, 3), time(4, 5), timedelta(1, 2)]
---
from datetime import *
assert f() == [date(2020, 1, 2), datetime(2020, 1, 2, 3), time(4, 5), timedelta(1, 2)]
===
from decimal import *
from fractions import *
def f(): return Decimal("0.1"), Fraction(1, 3)
---
from decimal import *
from fractions import *
assert f() == (Decimal("0.1"), Fraction(1, 3))
===
import numpy as np
def f(): return np.int64(3), np.float32(0.5), np.bool_(True), np.array([[1, 2]])
---
a, b, c, d = f()
assert (a, b, c) == (3, 0.5, True) and d.tolist() == [[1, 2]]
===
from enum import IntEnum
class Colour(IntEnum): RED = 1
def f(): return Colour.RED
---
assert f() == 1
"""
"""Programs, each with its tests."""


@pytest.mark.parametrize("case", RIGHT.strip().split("\n===\n"))
def test_right_programs_pass(case: str) -> None:
    program, tests = case.split("\n---\n")
    assert fault(program, tests) is None


def test_long_collections_go_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.grading.checker.PIECE", 3)
    program = "def f(x): return [x, tuple(x), set(x), [[one] * 4 for one in x], range(9)]"
    tests = "\n".join(
        f"x = {x!r}\nassert f(x) == [x, tuple(x), set(x), [[one] * 4 for one in x], range(9)]"
        for x in ([], ["a", "b"], [1, "b", 2.5], ["a", 2**300, None, "d"], list(range(7)))
    )
    assert fault(program, tests) is None
    assert fault("def f(x): return x[:-1]", "assert f(list(range(7))) == list(range(7))")


def test_a_program_may_take_the_name_of_a_builtin() -> None:
    program = "def sum(a, b): return a * b"
    assert fault(program, "assert sum(2, 3) == 6", entry="sum") is None


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("def f(x): return 2", "AssertionError at line 2: assert f(1) == 1"),
        ("def g(x): return 1", "NameError: name 'f' is not defined at line 2: assert"),
        ("def f(x): return 1 / 0", "ZeroDivisionError: division by zero at line 2: assert"),
        ("def f(): pass", "TypeError: f() takes 0 positional arguments but 1 was given at line 2"),
        ("def f(:", "the program fails: SyntaxError: invalid syntax (program, line 1)"),
        ("raise KeyError(1)", "the program fails: KeyError: '1'"),
        ("import sys; sys.exit(0)", "the program fails: RuntimeError: SystemExit: 0"),
        ("def f(x): raise SystemExit", "RuntimeError: SystemExit at line 2: assert f(1) == 1"),
        ("import nosuch", "the program fails: ModuleNotFoundError: No module named 'nosuch'"),
        ("def f(x, l=[]): l.append(l); return l", "RecursionError: maximum recursion depth"),
    ],
)
def test_it_is_said_why_a_program_is_wrong(program: str, told: str) -> None:
    found = fault(program, "\nassert f(1) == 1")
    assert found is not None
    assert found.startswith(told)


EQUAL = "\n __eq__ = lambda s, o: True\n __ne__ = lambda s, o: False\n __hash__ = lambda s: 1\n"


@pytest.mark.parametrize(
    "program",
    [
        f"class E:{EQUAL}def f(x): return E()",
        f"class E(int):{EQUAL}def f(x): return E(7)",
        f"class E(float):{EQUAL}def f(x): return E(7)",
        f"class E(str):{EQUAL}def f(x): return E('7')",
        f"class E(list):{EQUAL}def f(x): return E([7])",
        f"class M(type):{EQUAL}class E(metaclass=M): pass\ndef f(x): return E",
        "from unittest.mock import ANY\ndef f(x): return ANY",
        "def f(x): return 7\ndef abs(x): return 0\ndef all(x): return True",
        "import numpy as np\ndef f(x): return np.array([])",
    ],
)
def test_no_result_is_equal_to_everything(program: str) -> None:
    assert fault(program, "assert f(1) == 3") is not None
    assert fault(program, "assert not f(1) != 3") is not None
    assert fault(program, "assert abs(f(1) - 3) < 1e-6") is not None
    assert fault(program, "assert f(1) in (3, 4)") is not None


def test_the_code_in_front_of_the_tests_is_not_the_programs_to_change() -> None:
    before = "def double(x): return 2 * x\ndef f(x):\n    '''Halve.'''\n"
    tests = "assert f(double(3)) == 3"
    assert fault(f"{before}\ndef f(x): return x / 2", tests, before) is None
    assert fault(f"{before}\ndef double(x): return 3\ndef f(x): return x", tests, before)


def test_arguments_go_over_by_value() -> None:
    tests = "a = [2, 1]\nassert f(a) == [1, 2] and a == [2, 1]"
    assert fault("def f(a):\n a.sort()\n return a", tests) is None


def test_each_suite_is_judged_by_itself() -> None:
    suites = {
        "base": "x = 1\nassert f(x) == 1",
        "plus": "x",
    }
    job = {"program": "def f(x): return 1", "entry": "f", "before": "", "suites": suites}
    with peers() as (ours, _):
        told = judge(ours, job)
    assert told == {
        "suites": {"base": None, "plus": "NameError: name 'x' is not defined at line 1: x"}
    }


@pytest.mark.parametrize(
    ("before", "tests", "why"),
    [("", "assert f(", "SyntaxError"), ("import nosuch", "assert f()", "ModuleNotFoundError")],
)
def test_tests_that_are_broken_are_no_programs_fault(before: str, tests: str, why: str) -> None:
    job = {"program": "", "entry": None, "before": before, "suites": {"base": tests}}
    with peers() as (ours, _):
        assert why in judge(ours, job)["broken"]


@pytest.mark.parametrize(
    "message",
    [
        ["call", {"type": "type"}, {"tuple": ["X", {"tuple": []}, {"dict": []}]}, {"dict": []}],
        ["call", {"made": ["builtins.range", [3]]}, {"tuple": []}, {"dict": []}],
        ["get", {"yours": 0}, "__globals__"],
        ["run", "import os"],
        ["call", {"yours": 5}, {"tuple": []}, {"dict": []}],
    ],
)
def test_a_program_may_call_back_what_it_was_handed_and_nothing_else(message: list[object]) -> None:
    with peers() as (ours, _):
        ours.encode(lambda: 5)  # handed over as number 0
        verb, *args = message
        with pytest.raises((ValueError, IndexError, TypeError)):
            ours.do(str(verb), *args)
        assert ours.do("call", {"yours": 0}, {"tuple": []}, {"dict": []}) == 5


@pytest.mark.parametrize(
    "data", [{"made": ["os.system", ["true"]]}, {"module": "nosuch"}, {"what": 1}, {"a": 1, "b": 2}]
)
def test_nothing_else_is_made_of_what_a_program_says(data: object) -> None:
    with peers() as (ours, _), pytest.raises(ValueError, match=r"kind|unpack"):
        ours.decode(data)


def test_a_type_that_is_none_is_not_looked_up() -> None:
    with peers() as (ours, _):
        assert ours.decode({"type": "eval"}) is None
