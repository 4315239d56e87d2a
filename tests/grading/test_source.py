import pytest

from collab.grading.source import dedented, definitions, future_first, plain, split_lines, visible

F = "def f(x):\n    return x"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (">>> def f(x):\n...     return x\n...\n>>> f(1)\n1", f"{F}\n\nf(1)"),
        ("In [1]: def f(x):\n   ...:     return x\n   ...: \n\nOut[1]: 3", f"{F}\n"),
        ("In [1]: x = 1\ny = 2\nOut[1]: 3", "x = 1\ny = 2"),
        ("%matplotlib inline\n!pip install x\nf?\n" + F, F),
        ("    def f(x):\n        return x", F),
        (F, F),
        ('S = """\n%s and\n!x\n"""', 'S = """\n%s and\n!x\n"""'),
        (
            'def f():\n    """Do.\n\n    >>> f()\n    """',
            'def f():\n    """Do.\n\n    >>> f()\n    """',
        ),
        ("x = (5\n  % 3)", "x = (5\n  % 3)"),
        ("def f(x):  # so\n   return x", "def f(x):  # so\n   return x"),
        ("def f(x,\n      y):\n    return x", "def f(x,\n      y):\n    return x"),
    ],
)
def test_prompts_magics_and_margins_are_taken_off(code: str, found: str) -> None:
    assert plain(code) == found


def test_a_margin_inside_a_text_stays() -> None:
    assert dedented('S = """\n  a\n  """') == 'S = """\n  a\n  """'
    assert dedented("import math\n    def f():\n        pass") == "import math\ndef f():\n    pass"


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("from __future__ import annotations", ""),
        ("from __future__ import annotations  # so", ""),
        ("from __future__ import annotations; x = 1", "x = 1"),
    ],
)
def test_imports_from_the_future_come_first(line: str, rest: str) -> None:
    code = future_first("import os", f"{line}\n{F}")
    assert code == f"from __future__ import annotations\nimport os\n{rest}\n{F}"


def test_a_text_that_speaks_of_the_future_stays_where_it_is() -> None:
    code = 'S = """\nfrom __future__ import annotations\n"""'
    assert future_first("", code) == f"\n{code}"


def test_examples_of_use_are_no_definitions() -> None:
    assert definitions(f"import re\n{F}\n\nprint(f(1))\nx = 2\n@a\nclass A:\n    b = 1") == (
        f"import re\n{F}\n\n@a\nclass A:\n    b = 1"
    )


def test_lines_end_at_line_ends_alone() -> None:
    assert split_lines("a\u2028b\x0cc\r\nd") == ["a\u2028b\x0cc", "d"]
    assert split_lines("a\rb") == ["a", "b"]


def test_invisible_characters_of_the_margin_are_left_out_and_others_stay() -> None:
    code = "\ufeffdef f():\n\xa0\xa0return '\xa0\u200b'"
    assert visible(code) == "def f():\n  return '\xa0\u200b'"
