"""The published code benchmarks: their reference solutions pass, and altered ones do not."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from collab.app.compose import composed
from collab.core.trajectory import Question
from collab.grading.code import CodeGrader, CodeSettings, entry_of

DATA = Path(__file__).parents[3] / "shared" / "data" / "code"
pytestmark = [
    pytest.mark.usefixtures("bwrap"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the published questions are not here"),
]
ALTERED = """

_right = {entry}
def {entry}(*args, **named):
    it = _right(*args, **named)
    return not it if isinstance(it, bool) else 1 if it is None else "altered"
"""


@dataclass(frozen=True)
class Published:
    """One published file, as the hub has it under other names of fields."""

    file: str
    rows: int
    passes: int
    fields: tuple[tuple[str, str], ...] = ()
    """What a field is called there, and here."""

    def questions(self, name: str, folder: Path) -> list[Question]:
        """Read it through the conf file of the set."""
        packed = (DATA / self.file).read_bytes()
        text = gzip.decompress(packed) if self.file.endswith(".gz") else packed
        rows = [json.loads(line) for line in text.splitlines()]
        rows = [row | {there: row[here] for there, here in self.fields} for row in rows]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        built = composed(
            [
                f"questions={name}",
                f"questions.repo={folder}",
                "questions.files=[rows.jsonl]",
                f"questions.count={self.rows}",
            ]
        )
        questions: list[Question] = built.questions.load(built.config.prompt)
        return questions


SETS = {
    "humaneval": Published("humaneval.jsonl", 164, 164, (("canonical_solution", "answer"),)),
    "humaneval_plus": Published("originfmt/HumanEvalPlus-OriginFmt.jsonl.gz", 164, 163),
    "mbpp": Published("mbpp.jsonl", 974, 974, (("code", "answer"), ("text", "question"))),
    "mbpp_sanitized": Published("mbpp_sanitized.jsonl", 427, 427, (("code", "answer"),)),
    "mbpp_plus": Published("originfmt/MbppPlus-OriginFmt.jsonl.gz", 378, 378),
    "cruxeval_output": Published("cruxeval.jsonl", 800, 800, (("code", "question"),)),
    "cruxeval_input": Published("cruxeval.jsonl", 800, 800, (("code", "question"),)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[CodeGrader]:
    async with CodeGrader(CodeSettings(workers=2)) as grader:
        yield grader


async def wrong(grader: CodeGrader, answers: list[tuple[Question, str]]) -> dict[str, object]:
    """Return what is said of the answers that are not right, by the first words of the question."""
    judged = await asyncio.gather(*(grader.grade(*answer) for answer in answers))
    assert all(found.strict == (found.verdict == "correct") for found in judged)
    return {
        question.id: found.details
        for (question, _), found in zip(answers, judged, strict=True)
        if found.verdict != "correct"
    }


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def solution(question: Question) -> str:
    """Return the reference as an answer would give it."""
    checks, answer = question.checks, question.answer
    assert checks is not None
    assert answer is not None
    match checks.reads:
        case "program":
            return checks.before + answer
        case "value":
            return f"assert f() == {answer}"
        case "call":
            return f"assert {answer} == None"


def altered(question: Question) -> str:
    """Return a solution whose results are of another kind than the reference's."""
    checks = question.checks
    assert checks is not None
    match checks.reads:
        case "program":
            return solution(question) + ALTERED.format(entry=entry_of(question, checks))
        case "value":
            return f"assert f() == ({question.answer}, 'altered')"
        case "call":
            return "f(*range(99))"


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", SETS)
async def test_reference_solutions_pass(grader: CodeGrader, name: str, tmp_path: Path) -> None:
    published = SETS[name]
    questions = published.questions(name, tmp_path)
    faults = await wrong(grader, [(one, fenced(solution(one))) for one in questions])
    assert len(questions) - len(faults) == published.passes, faults


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", SETS)
async def test_altered_solutions_fail(grader: CodeGrader, name: str, tmp_path: Path) -> None:
    some = SETS[name].questions(name, tmp_path)[::10]
    faults = await wrong(grader, [(one, fenced(altered(one))) for one in some])
    assert [one.id for one in some if one.id not in faults] == []
