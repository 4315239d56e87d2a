import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import collab
from collab import Question
from collab.errors import GradingError

SCRIPT = r"""
import collab
print(collab.grade(gold="1/2", answer=r"\boxed{0.5}").verdict)
print(collab.grade(gold="2", answer=r"\boxed{3}").verdict)
"""


def test_a_gold_answer_and_a_reply_are_enough() -> None:
    right = collab.grade(gold="1/2", answer=r"So it is \boxed{0.5}.")
    assert (right.verdict, right.strict, right.extracted) == ("correct", True, "0.5")
    assert collab.grade(gold="1/2", answer=r"So it is \boxed{0.6}.").verdict == "wrong"


def test_a_question_brings_its_gold_answer() -> None:
    question = Question("q", (), "B", "choice", ("red", "blue"))
    assert collab.grade(question, "Answer: B").verdict == "correct"
    assert collab.grade(question, "Answer: A").verdict == "wrong"


async def test_it_grades_inside_a_running_loop_and_side_by_side() -> None:
    assert collab.grade(gold="3", answer="It is 3.").verdict == "correct"
    found = await asyncio.gather(*(collab.agrade(gold="7", answer=f"{n}") for n in range(10)))
    assert [one.verdict == "correct" for one in found] == [n == 7 for n in range(10)]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"answer": "1"}, "the gold answer is missing"),
        ({"gold": "1", "answer": "1", "domain": "math"}, "domain 'math' has no grader; set it to"),
        ({"gold": "A", "answer": "A", "domain": "choice"}, "give options"),
        (
            {"gold": "C", "answer": "A", "domain": "choice", "options": ["x", "y"]},
            "'C' is not a letter of 'AB'",
        ),
        ({"answer": "def f(): pass", "domain": "code"}, "give checks="),
        ({"gold": r"\frac{", "answer": "1"}, "cannot be read"),
    ],
)
def test_what_cannot_be_graded_is_refused_with_the_fix(
    words: dict[str, object], error: str
) -> None:
    with pytest.raises(GradingError) as raised:
        collab.grade(**words)  # type: ignore[arg-type] # wrong words on purpose
    assert error in str(raised.value)


def test_a_script_needs_no_main_guard_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    reading, writing = os.pipe()  # each process of the script holds its writing end
    with os.fdopen(reading, "rb") as end:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[writing],
        )
        os.close(writing)
        assert end.read() == b"", "read to the end: no process is left"
    assert (done.returncode, done.stdout, done.stderr) == (0, "correct\nwrong\n", "")
