from typing import Literal

import pytest

from collab.grading.extract import defines, find
from collab.grading.fences import Block, blocks

ONE = "def f(x):\n    return x"
TWO = "def g(x):\n    return f(x)"


def fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```"


@pytest.mark.parametrize(
    ("text", "code", "asked"),
    [
        (f"Here:\n{fenced(ONE)}\nDone.", ONE, True),
        (f"{fenced(ONE)}\nUse it:\n{fenced('print(f(1))')}", ONE, True),
        (f"{fenced('def f(): pass')}\nNo, better:\n{fenced(ONE)}", ONE, True),
        (f"{fenced('pip install x', 'bash')}\n{fenced(TWO)}", TWO, True),
        (f"{fenced(TWO)}\n{fenced('x = 1')}", "x = 1", True),
        (fenced(ONE, ""), ONE, True),
        (f"~~~py\n{ONE}\n~~~", ONE, True),
        ("1. So:\n   ```python\n   def f(x):\n       return x\n   ```", ONE, True),
        (f"````\n{ONE}\n```\n````", f"{ONE}\n```", True),
        (f"```python\n{ONE}", ONE, False),
        (f"I would write\n\n{ONE}\n\nand that is it.", f"{ONE}\n", False),
        (
            f"from math import *\nY = 1\n{ONE}\nSo the answer",
            f"from math import *\nY = 1\n{ONE}",
            False,
        ),
        (fenced("f = lambda x: x"), "f = lambda x: x", True),
        (f"{fenced('import math')}\nThen:\n{fenced(ONE)}", f"import math\n{ONE}", True),
        (f"{fenced(TWO)}\nThen:\n{fenced(ONE)}", f"{TWO}\n{ONE}", True),
        (f"{fenced(ONE)}\nThen:\n{fenced(TWO)}", f"{ONE}\n{TWO}", True),
        (
            f"{fenced('import math')}\n{fenced('print(math.pi)')}\n{fenced(ONE)}",
            f"import math\n{ONE}",
            True,
        ),
        (f"{fenced(ONE)}\nE.g.:\n{fenced('f = f(3)')}", ONE, True),
        (f"```python\n{ONE}```", ONE, True),
        (f"**Solution**\n\n    {ONE.replace(chr(10), chr(10) + '    ')}", ONE, False),
        (
            fenced('def f():\n    """So:\n```\nf()\n```\n    """'),
            'def f():\n    """So:\n```\nf()\n```\n    """',
            True,
        ),
        (fenced("f = 'a\u2028b\x0cc\x85d'"), "f = 'a\u2028b\x0cc\x85d'", True),
    ],
)
def test_a_program_is_found(text: str, code: str, asked: bool) -> None:
    found = find(text, "program", "f")
    assert found is not None
    assert (found.code, found.asked) == (code, asked)


@pytest.mark.parametrize(
    ("text", "code", "asked"),
    [
        (fenced("assert f(1) == 2"), "assert f(1) == 2", True),
        (
            fenced("# so\nassert f(1) == 3\nassert f([1,\n  2]) == 2"),
            "assert f([1,\n  2]) == 2",
            True,
        ),
        ("[ANSWER]\nassert f(1) == 2\n[/ANSWER]", "assert f(1) == 2", True),
        ("[ANSWER]'a b'[/ANSWER] as I said", "'a b'", True),
        (fenced("[1, 2]"), "[1, 2]", True),
        (
            "First\nassert f(1) == 1\nis wrong, so\n- `assert f(1) == 2`\nholds.",
            "assert f(1) == 2",
            False,
        ),
        ("It gives `'x'`, not that: it gives `'y'`.", "'y'", False),
    ],
)
@pytest.mark.parametrize("reads", ["value", "call"])
def test_an_expression_is_found(
    text: str, code: str, asked: bool, reads: Literal["value", "call"]
) -> None:
    found = find(text, reads, "f")
    assert found is not None
    assert (found.code, found.asked) == (code, asked)


@pytest.mark.parametrize("text", ["", "I cannot.", fenced(""), "```python\n"])
@pytest.mark.parametrize("reads", ["program", "value"])
def test_no_code_is_found(text: str, reads: Literal["program", "value"]) -> None:
    assert find(text, reads, "f") is None


def test_blocks_keep_their_language_and_say_whether_they_end() -> None:
    text = "```js\nf()\n```\n```python title=x\n  a\n    b"
    assert blocks(text) == [Block("js", "f()", True), Block("python", "  a\n    b", False)]


@pytest.mark.parametrize(
    ("code", "there"),
    [
        ("def f(): pass", True),
        ("async  def f(): pass", True),
        ("class f: pass", True),
        ("f = 1", True),
        ("f: int = 1", True),
        ("def ff(): pass", False),
        ("  def f(): pass", False),
        ("f == 1", False),
        ("print(f)", False),
    ],
)
def test_a_definition_is_seen(code: str, there: bool) -> None:
    assert defines(f"x = 1\n{code}", "f") is there
    assert not defines(code, None)


def test_a_hostile_answer_is_read_in_no_time() -> None:
    for text in ("`" * 10**6, "```\n" * 10**5, "[ANSWER]" * 10**5, "(" * 10**6, " \t" * 10**6):
        find(text, "program", "f")
        find(text, "value", "f")
