import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from collab.core.trajectory import Checks, Question
from collab.errors import GradingError
from collab.grading.code import CodeGrader, CodeSettings, entry_of
from collab.sandbox import ProgramLimits

pytestmark = pytest.mark.usefixtures("bwrap")
SOLVED = '''```python
def double(x):
    """Return twice x."""
    return 2 * x
```'''


def question(**checks: Any) -> Question:  # any: what Checks takes
    given = {"suites": {"base": "assert double(2) == 4"}, "entry": "double"} | checks
    return Question("q", (), "a reference", grader="code", checks=Checks(**given))


def fenced(code: str) -> str:
    return f"Here it is:\n\n```python\n{code}\n```\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[CodeGrader]:
    limits = ProgramLimits(seconds=2, wall=5, memory=2**30, processes=4)
    async with CodeGrader(CodeSettings(workers=4, limits=limits)) as grader:
        yield grader


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("text", "verdict", "strict"),
    [
        (SOLVED, "correct", True),
        ("double = lambda x: x + x, so\n\n```\ndouble = lambda x: x + x\n```", "correct", True),
        ("def double(x):\n    return x * 2\n\nThat is all.", "correct", False),
        (fenced("def double(x): return x ** 3"), "wrong", False),
        (fenced("def twice(x): return 2 * x"), "wrong", False),
        (fenced("def double(x: return"), "wrong", False),
        ("I cannot say.", "no answer", False),
        ("", "no answer", False),
    ],
)
async def test_answers_are_judged(
    grader: CodeGrader, text: str, verdict: str, strict: bool
) -> None:
    found = await grader.grade(question(), text)
    assert (found.verdict, found.strict) == (verdict, strict)
    assert found.lenient == {"correct": True, "wrong": False, "no answer": None}[verdict]
    assert (found.extracted is None) == (verdict == "no answer")


@pytest.mark.asyncio(loop_scope="module")
async def test_each_suite_is_reported(grader: CodeGrader) -> None:
    suites = {"base": "assert double(2) == 4", "plus": "assert double('a') == 'aa'"}
    found = await grader.grade(question(suites=suites), fenced("def double(x): return x + 2"))
    assert found.verdict == "wrong"
    told = found.details["suites"]
    assert isinstance(told, Mapping)
    assert told["base"] == "passed"
    assert str(told["plus"]).startswith("TypeError: can only concatenate str")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("needs", "verdict"), [(0, "wrong"), (2**31, "correct")])
async def test_tests_may_need_more_than_the_grader_allows(
    grader: CodeGrader, needs: int, verdict: str
) -> None:
    asked = question(memory=needs)
    program = f"NEEDS = {needs}\ndef double(x): return len(bytes(2**28)) * x // 2**27"
    assert (await grader.grade(asked, fenced(program))).verdict == verdict


@pytest.mark.asyncio(loop_scope="module")
async def test_a_function_that_was_begun_may_be_finished(grader: CodeGrader) -> None:
    begun = 'from math import floor\n\ndef double(x):\n    """Return twice x, rounded down."""\n'
    asked = question(before=begun, suites={"base": "assert double(1.3) == floor(2.6)"})
    for body in ("    y = 2 * x\n    return floor(y)", "y = 2 * x\nreturn floor(y)"):
        assert (await grader.grade(asked, fenced(body))).verdict == "correct"
    whole = fenced("def double(x):\n    return floor(2 * x)")
    assert (await grader.grade(asked, whole)).verdict == "correct"
    assert (await grader.grade(asked, fenced("    pass"))).verdict == "wrong"


@pytest.mark.asyncio(loop_scope="module")
async def test_tests_that_print_are_judged_all_the_same(grader: CodeGrader) -> None:
    suites = {"base": "print('{}' * 9, end='')\nassert double(2) == 4\nprint('\\nx')"}
    assert (await grader.grade(question(suites=suites), SOLVED)).verdict == "correct"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_name_that_nobody_defines_is_what_was_asked_for(grader: CodeGrader) -> None:
    one = {"base": "from math import pi\nfor x in (1, 2): assert double(x) == 2 * x < pi * 9"}
    asked = question(suites=one, entry=None)
    unknown = Question("q", (), None, grader="code", checks=asked.checks)
    assert (await grader.grade(unknown, SOLVED)).verdict == "correct"
    two = replace(unknown, checks=Checks(suites={"base": "assert same(double(2), 4)"}))
    with pytest.raises(GradingError, match="use 'double', 'same', and nothing says which"):
        await grader.grade(two, SOLVED)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("answer", ["a reference", "def double(x): return 2 * x"])
async def test_tests_take_no_name_from_a_program_that_was_not_asked_for(
    grader: CodeGrader, answer: str
) -> None:
    asked = question(suites={"base": "assert same(double(2), 4)"})
    cheat = fenced("def double(x): return 3\ndef same(a, b): return True")
    assert (await grader.grade(replace(asked, answer=answer), cheat)).verdict == "wrong"


PAIR = "class Pair:\n    def __init__(self, a): self.a = a\ndef double(p): return 2 * p.a"


@pytest.mark.asyncio(loop_scope="module")
async def test_tests_take_from_a_program_what_its_reference_defines(grader: CodeGrader) -> None:
    asked = replace(question(suites={"base": "assert double(Pair(2)) == 4"}), answer=PAIR)
    assert (await grader.grade(asked, fenced(PAIR))).verdict == "correct"


@pytest.mark.parametrize(
    ("reference", "entry"),
    [
        ("def half(x): return x / 2\ndef double(x): return 2 * x\nclass A: pass", "double"),
        ("def other(x):\n    def double(y): pass\n", "other"),
        ("double = int", None),
    ],
)
def test_the_function_asked_for_is_that_of_the_reference_which_the_tests_name(
    reference: str, entry: str | None
) -> None:
    checks = Checks(suites={"base": "assert double(2) == 4"})
    assert entry_of(Question("q", (), reference), checks) == entry
    assert entry_of(Question("q", (), reference), replace(checks, entry="f")) == "f"


FUNCTION = "SIGN = -1\n\ndef f(x, y=1):\n    return SIGN * x * y"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("reads", "text", "verdict"),
    [
        ("value", fenced("assert f(2, y=3) == -6"), "correct"),
        ("value", fenced("-6"), "correct"),
        ("value", fenced("assert -6 == f(2, y=3)"), "correct"),
        ("value", "[ANSWER]-2 * 3[/ANSWER]", "correct"),
        ("value", fenced("assert f(2, y=3) == 6"), "wrong"),
        ("value", fenced("f(2, y=3)"), "wrong"),
        ("value", fenced("assert f(2, y=3)"), "wrong"),
        ("value", fenced("("), "wrong"),
        ("value", fenced("-" * 10_000 + "6"), "wrong"),
        ("value", "I do not know.", "no answer"),
        ("call", fenced("assert f(2, y=3) == -6"), "correct"),
        ("call", fenced("f(-6 * SIGN)"), "correct"),
        ("call", fenced("(3, 2)"), "correct"),
        ("call", fenced("6"), "correct"),
        ("call", fenced("assert f(2) == -6"), "wrong"),
        ("call", fenced("globals().update(f=lambda: -6)"), "wrong"),
        ("call", fenced("f(type('N', (), {'__rmul__': lambda *_: -6})())"), "wrong"),
    ],
)  # fmt: skip
async def test_expressions_are_judged(
    grader: CodeGrader, reads: str, text: str, verdict: str
) -> None:
    suite = {
        "value": "assert answer() == f(2, y=3)",
        "call": "given, named = answer()\nassert f(*given, **named) == -6",
    }[reads]
    asked = question(suites={"base": suite}, before=FUNCTION, reads=reads, entry="f")
    assert (await grader.grade(asked, text)).verdict == verdict


MARK = '{"suites": {"base": null}}'
CHEATS = {
    "leaves at once": "import os; os._exit(0)",
    "leaves when asked": "import os\ndef double(x): os._exit(0)",
    "leaves politely": "import sys\ndef double(x): sys.exit(0)",
    "prints the mark of success": f"print({MARK!r})\ndef double(x): print({MARK!r})",
    "writes it to whatever is open": f"""
import os
def double(x):
    for number in range(64):
        for mark in ({MARK!r}, '["gives", null]'):
            try:
                os.write(number, mark.encode() + b"\\n")
            except OSError:
                pass
    os._exit(0)
""",
    "is equal to everything": """
class Equal(int):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
def double(x): return Equal()
""",
    "patches what checks it": """
import builtins, sys, json
class Never(Exception): pass
builtins.AssertionError = Never
for module in list(sys.modules.values()):
    for name in ("judge", "_fault", "_told"):
        if hasattr(module, name):
            setattr(module, name, lambda *_: None)
json.dumps = lambda *_: '{"suites": {"base": null}}'
def double(x): raise Never
""",
    "looks for the tests": """
import gc
def double(x):
    wanted = "".join(["SEC", "RET-"])
    for holder in gc.get_objects():
        for thing in gc.get_referents(holder):
            if isinstance(thing, str) and wanted in thing:
                return thing[thing.index(wanted):][:9]
""",
    "makes an object of ours": """
import sys
def double(x):
    frame = sys._getframe()
    while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "ask"):
        frame = frame.f_back
    peer = frame.f_locals["self"]
    made = {"tuple": ["Equal", {"tuple": []}, {"dict": [["__eq__", peer.encode(lambda *_: True)]]}]}
    return peer.ask("call", {"type": "type"}, made, {"dict": []})()
""",
    "raises what runs code": f"""
class exec(Exception): pass
def double(x): raise exec('import os; print(\\'{MARK}\\', flush=True); os._exit(0)')
""",
    "kills what checks it": "import os\ndef double(x): os.kill(os.getppid(), 9)",
    "kills all": "import os\ndef double(x): os.kill(-1, 9)",
    "stops what checks it": "import os\ndef double(x): os.kill(os.getppid(), 19)",
    "never returns": "def double(x):\n    while True: pass",
    "forks without end": """
import os
def double(x):
    while True:
        try: os.fork()
        except OSError: pass
""",
    "takes all memory": "kept = []\ndef double(x):\n    while True: kept.append(bytearray(2**24))",
    "says too much": "def double(x): return 'x' * 2**28",
    "goes too deep": "def double(x):\n    l = []\n    for _ in range(10**5): l = [l]\n    return l",
    "breaks the interpreter": "import ctypes\ndef double(x): ctypes.string_at(0)",
    "reads what is ours": "def double(x): return open('/etc/shadow').read()",
    "has null bytes": "def double(x): return '\0'",
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CHEATS)
async def test_a_program_that_cheats_is_wrong(grader: CodeGrader, name: str) -> None:
    asked = question(suites={"base": "assert double(2) == 'SECRET-7b'"})
    found = await grader.grade(asked, fenced(CHEATS[name]))
    assert found.verdict == "wrong", found


LATE = f"""
import os, time
def double(x):
    parent = os.getppid()
    if not os.fork():
        os.setsid()
        kept = []
        for number in range(64):
            try:
                kept.append(os.open(f"/proc/{{parent}}/fd/{{number}}", os.O_WRONLY))
            except OSError:
                pass
        while os.path.exists(f"/proc/{{parent}}"):
            pass
        for file in kept:
            try:
                os.write(file, {MARK!r}.encode() + b"\\n")
            except OSError:
                pass
        os._exit(0)
    time.sleep(0.2)
    return 3
"""


async def test_a_verdict_that_a_plain_process_forges_does_not_count() -> None:
    limits = ProgramLimits(seconds=2, wall=20, memory=2**30, processes=4)
    async with CodeGrader(CodeSettings(sandbox="unsafe_subprocess", limits=limits)) as grader:
        found = await grader.grade(question(), fenced(LATE))
        assert found.verdict == "wrong", found
        assert (await grader.grade(question(), SOLVED)).verdict == "correct"


BEGUN = 'def double(x):\n    """Return twice x."""\n'


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("s = 0\n    for i in range(2):\n        s += x\n    return s", "correct"),
        ("s = 0\n    for i in range(3):\n        s += x\n    return s", "wrong"),
        ("if x:\n    return 2 * x\nreturn 0", "correct"),
        ("    return x + x", "correct"),
        ("from __future__ import annotations\ndef double(x: Any) -> Any: return 2 * x", "correct"),
        ("from __future__ import annotations\ndef double(x: Any) -> Any: return 3 * x", "wrong"),
    ],
)
async def test_the_rest_of_a_begun_function_is_taken_as_people_write_it(
    grader: CodeGrader, body: str, verdict: str
) -> None:
    found = await grader.grade(question(before=BEGUN), fenced(body))
    assert found.verdict == verdict


@pytest.mark.asyncio(loop_scope="module")
async def test_a_helper_of_another_block_counts_with_what_it_does(grader: CodeGrader) -> None:
    entry = fenced("def double(x): return times(x, 2)")
    for helper, verdict in (("x * y", "correct"), ("x + y + 1", "wrong")):
        found = await grader.grade(question(), fenced(f"def times(x, y): return {helper}") + entry)
        assert found.verdict == verdict
    assert (await grader.grade(question(), entry)).verdict == "wrong"


LABELLED = Path(__file__).with_name("code_cases.jsonl")
CASES = [json.loads(line) for line in LABELLED.read_text("utf-8").splitlines()]
"""Answers as people and cheats write them, with tests that are right and tests that are not."""


async def missed(grader: CodeGrader, cases: list[Mapping[str, str]]) -> list[tuple[Any, ...]]:
    """Return the cases that are judged otherwise than they are labelled."""

    def verdict(case: Mapping[str, str]) -> Any:  # any: an awaitable
        checks = Checks({"base": case["tests"]}, before=case["before"], entry=case["entry"])
        asked = Question("q", (), None, grader="code", checks=checks)
        return grader.grade(asked, case["answer"])

    found = await asyncio.gather(*map(verdict, cases))
    return [
        (case["kind"], one.verdict, one.details)
        for case, one in zip(cases, found, strict=True)
        if one.verdict != case["want"]
        and (case["want"] != "not correct" or one.verdict == "correct")
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_labelled_answers_are_judged_as_labelled(grader: CodeGrader) -> None:
    assert await missed(grader, CASES[::7]) == []


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="module")
async def test_all_labelled_answers_are_judged_as_labelled(grader: CodeGrader) -> None:
    assert await missed(grader, CASES) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_carried_over_is_not_judged(grader: CodeGrader) -> None:
    text = fenced("class Eq:\n    def __eq__(self, other): return True\ndef double(x): return Eq()")
    found = await grader.grade(question(), text)
    assert (found.verdict, found.lenient, found.strict, found.by) == (
        "not judged",
        None,
        False,
        "tests",
    )
    assert found.details["not judged"] == {
        "base": "an object of the program's own is an operand of 'eq'"
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_a_suite_that_is_wrong_for_sure_outweighs_one_that_is_not_judged(
    grader: CodeGrader,
) -> None:
    text = fenced("class Eq:\n    def __eq__(self, o): return True\ndef double(x): return Eq()")
    suites = {"base": "assert double(2) == 4", "plus": "assert double(2) is None"}
    found = await grader.grade(question(suites=suites), text)
    assert found.verdict == "wrong"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_program_gets_no_second_guess(grader: CodeGrader) -> None:
    guess = (
        "turn = 0\ndef double(a):\n    global turn\n    turn += 1\n    a.append(1)\n    return turn"
    )
    asked = question(suites={"base": "a = [1]\nassert double(a) == 2"})
    assert (await grader.grade(asked, fenced(guess))).verdict == "wrong"
    same = "def double(a):\n    a.append(1)\n    return 2"
    asked = question(suites={"base": "a = [1]\nassert double(a) == 2\nassert a == [1, 1]"})
    assert (await grader.grade(asked, fenced(same))).verdict == "correct"
