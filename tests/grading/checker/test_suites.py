"""The checker's two sides in one process: what they say does not depend on the sandbox."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from collab.grading.checker.peer import Peer
from collab.grading.checker.program import Program
from collab.grading.checker.suites import judge
from collab.grading.code import DEFINED


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


def fault(
    program: str,
    tests: str,
    before: str = "",
    entry: str = "f",
    lends: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> str | None:
    """Return what is wrong with a program by its tests."""
    job = {"program": program, "entry": entry, "lends": lends, "before": before}
    job["classes"] = classes
    with peers() as (ours, _):
        told = judge(ours, job | {"suites": {"base": tests}})
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
assert f(g) == ("k",)
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
class Bag:
    def __init__(self): self.of = {"a": 1}
    def __getitem__(self, key): return self.of[key]
    def __len__(self): return len(self.of)
class Row:
    def __getitem__(self, at): return [7, 8][at]
def f(): return Bag(), Row(), object()
---
bag, row, thing = f()
assert len(bag) == 1 and bag and bag["a"] == 1 and thing
assert list(row) == [7, 8] and 8 in row and 9 not in row and row[1] == 8
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
except Exception as error:
    assert str(error) == "no" and type(error).__name__ == "Own"
else:
    assert False
===
def f(): b"\xff".decode()
---
try:
    f()
except ValueError as error:
    assert isinstance(error, UnicodeDecodeError) and error.reason == "invalid start byte"
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
    assert fault(program, tests, lends=DEFINED.findall(program)) is None


def test_long_collections_go_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.grading.checker.coder.PIECE", 3)
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
        ("raise KeyError(1)", "the program fails: KeyError: 1"),
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


FOREVER = "__iter__ = lambda s: iter(range(100))"


@pytest.mark.parametrize(
    ("body", "tests"),
    [
        ("__contains__ = lambda s, o: True", "assert 17 in f(2)"),
        (f"__contains__ = lambda s, o: True\n {FOREVER}", "assert 170 in f(2)"),
        (
            "__contains__ = lambda s, o: False\n __iter__ = lambda s: iter([1])",
            "assert 1 not in f(2)",
        ),
        ("__lt__ = __gt__ = __le__ = __ge__ = lambda s, o: True", "assert f(2) < 5"),
        ("__lt__ = __gt__ = __le__ = __ge__ = lambda s, o: True", "assert 5 < f(2)"),
        ("__bool__ = lambda s: False", "assert not f(2)"),
        ("__len__ = lambda s: 1\n __bool__ = lambda s: False", "assert not f(2)"),
        ("__class__ = int", "assert isinstance(f(2), int)"),
        ("__class__ = property(lambda s: int)", "assert f(2) == 2 or isinstance(f(2), int)"),
        ("__hash__ = lambda s: hash(3)\n __eq__ = lambda s, o: True", "assert f(2) in {3: 4}"),
        ("__hash__ = lambda s: hash(3)\n __eq__ = lambda s, o: True", "assert {f(2)} == {3}"),
        ("__rsub__ = __sub__ = __abs__ = lambda s, *o: 0", "assert abs(f(2) - 3) < 1"),
        ("__float__ = lambda s: 3.0", "import math\nassert math.isclose(f(2), 3)"),
        ("__index__ = lambda s: 3", "assert range(9)[f(2)] == 3"),
        (f"__len__ = lambda s: 3\n {FOREVER}", "x = f(2)\nassert len(x) == 3 and 17 in x"),
        ("__len__ = lambda s: -1", "assert len(f(2)) < 0"),
        ("__len__ = lambda s: E()", "assert len(f(2)) == 3"),
        ("__iter__ = lambda s: E()", "assert 3 in f(2)"),
        ("__iter__ = lambda s: iter([E()])\n __eq__ = lambda s, o: True", "assert 3 in f(2)"),
    ],
)
def test_nothing_is_decided_by_a_programs_own_object(body: str, tests: str) -> None:
    assert fault(f"class E:\n {body}\ndef f(x): return E()", tests) is not None


def test_the_items_of_an_object_are_read_once_until_it_may_have_changed() -> None:
    program = """
class Two:
    def __init__(self): self.turn = 0
    def __len__(self): return 9
    def __iter__(self):
        self.turn += 1
        return iter([self.turn])
    def act(self): pass
f = Two
"""
    tests = """
two = f()
assert len(two) == 1 and list(two) == [1] and 1 in two and 2 not in two and [*two] == [1]
two.act()
assert list(two) == [2] and len(two) == 1
"""
    assert fault(program, tests) is None


@pytest.mark.parametrize(
    "tests",
    [
        "for got in map(f, [1, 2]): assert got == 5",
        "assert all(map(lambda x: f(x) == x, [1, 2]))",
        "assert list(map(f, [1])) == []",
    ],
)
@pytest.mark.parametrize("name", ["StopIteration", "StopAsyncIteration", "GeneratorExit"])
def test_a_program_ends_no_loop_of_its_tests(tests: str, name: str) -> None:
    found = fault(f"def f(x): raise {name}", tests)
    assert found is not None
    assert found.startswith(f"RuntimeError: {name}")


@pytest.mark.parametrize("name", ["exec", "eval", "print", "breakpoint", "SystemExit", "type"])
def test_an_exception_is_never_what_calls_something_of_ours(name: str) -> None:
    program = f"class {name}(Exception): pass\ndef f(x): raise {name}('import collab_no_such')"
    found = fault(program, "assert f(1) == 1")
    assert found == f"{name}: import collab_no_such at line 1: assert f(1) == 1"


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def same(a, b): return True", "assert same(f(1), 3)"),
        ("same = type('E', (), {})", "assert same()"),
        ("class math: isclose = staticmethod(lambda a, b: True)", "assert math.isclose(f(1), 3)"),
        ("def check(g): pass", "check(f)"),
        ("def AssertionError(*a): return 1/0", "assert f(1) == 3"),
        ("def isinstance(a, b): return True", "assert isinstance(f(1), str)"),
        ("candidate = lambda x: 3", "assert candidate(1) == 3"),
    ],
)
def test_what_tests_use_is_not_taken_from_the_program(program: str, tests: str) -> None:
    assert fault(f"{program}\ndef f(x): return 1", tests) is not None


def test_a_module_that_tests_use_is_ours() -> None:
    assert (
        fault("def f(x): return x", "assert math.isclose(f(1), 1) and f(2) < sys.maxsize") is None
    )


def test_of_two_names_that_a_reference_defines_tests_may_use_both() -> None:
    program = "def g(x): return x + 1\ndef f(x): return x - 1\ndef h(x): return x"
    assert fault(program, "assert f(g(1)) == 1", lends=["f", "g"]) is None
    assert fault(program, "assert f(h(1)) == 0", lends=["f", "g"]) is not None
    assert fault(program, "assert g(1) == 5", before="def g(x): return 5", lends=["g"]) is None


def test_an_answer_that_is_to_be_a_value_holds_no_object() -> None:
    program = "class E(list):\n upper = lambda s: 'YES'\nclass O:\n upper = lambda s: 'YES'\n"
    job = {"entry": "answer", "values": True, "before": "def f(x): return x.upper()"}
    suites = {"suites": {"base": "assert f(answer()) == 'YES'"}}
    for value, why in (("'yes'", None), ("E()", "AttributeError"), ("O()", "AttributeError")):
        with peers() as (ours, _):
            asked = {"program": f"{program}def answer(): return {value}"}
            found = judge(ours, job | suites | asked)["suites"]["base"]
        assert (found and found.partition(":")[0]) == why


def test_an_answer_that_is_to_be_a_value_may_be_a_function() -> None:
    job = {"entry": "answer", "values": True, "before": "def f(g, x): return [g(x), g(g(x))]"}
    suites = {"suites": {"base": "assert f(*answer()) == [3, 9]"}}
    with peers() as (ours, _):
        found = judge(ours, job | suites | {"program": "def answer(): return lambda x: 3 * x, 1"})
    assert found == {"suites": {"base": None}}


def test_an_error_that_shows_an_object_of_a_dead_program_spoils_no_other_suite() -> None:
    program = "class E:\n __str__ = lambda s: 1/0\ndef f(x): return E()"
    suites = {"base": "f(1)", "plus": "assert f(1) == 1, f(1)"}
    job = {"program": program, "entry": "f", "before": "", "suites": suites}
    with peers() as (ours, _):
        told = judge(ours, job)["suites"]
    assert told == {"base": None, "plus": "AssertionError at line 1: assert f(1) == 1, f(1)"}


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
