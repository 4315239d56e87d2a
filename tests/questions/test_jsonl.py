import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab.core.trajectory import Checks, Message
from collab.errors import ConfigError
from collab.questions import Jsonl, PromptFormat
from collab.questions.table import CheckFields


def written(folder: Path, *lines: str) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def rows(folder: Path, *rows: object) -> Path:
    return written(folder, *map(json.dumps, rows))


def test_a_line_of_the_file_is_a_question(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"question": "1+1?", "answer": 2}', "", '{"question": "x", "answer": "y"}'
    )
    one, other = Jsonl(path=path).load(PromptFormat(user="Q: {question}"))
    assert one.messages == (Message("user", "Q: 1+1?"),)
    assert (one.answer, other.answer) == ("2", "y")
    assert one.labels == {"set": "mine", "level": "mine"}


def test_the_set_brings_its_prompt_and_the_run_may_say_another(tmp_path: Path) -> None:
    mine = Jsonl(
        path=rows(tmp_path, {"question": "a", "answer": 1}),
        prompt=PromptFormat(user="My {question}"),
    )
    assert mine.load(PromptFormat())[0].messages[0].content == "My a"
    assert mine.load(PromptFormat(user="{question}!"))[0].messages[0].content == "a!"


def test_a_question_keeps_its_id_whatever_the_prompt_and_its_place(tmp_path: Path) -> None:
    lines = ['{"question": "a", "answer": "1"}', '{"question": "b", "answer": "2"}']
    first = Jsonl(path=written(tmp_path, *lines)).load(PromptFormat())
    again = Jsonl(path=written(tmp_path, *reversed(lines))).load(PromptFormat(user="{question}!"))
    assert [one.id for one in first] == [one.id for one in reversed(again)]
    assert first[0].id != first[1].id


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4, unique=True))
def test_any_text_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("questions") / "q.jsonl"
    lines = (json.dumps({"question": t, "answer": "1"}, ensure_ascii=False) for t in texts)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert [q.messages[0].content for q in Jsonl(path=path).load(PromptFormat())] == texts


def test_a_file_with_a_byte_order_mark_is_read_packed_or_not(tmp_path: Path) -> None:
    text = '{"question": "a", "answer": "1"}\r\n'.encode("utf-8-sig")
    (tmp_path / "q.jsonl").write_bytes(text)
    (tmp_path / "q.jsonl.gz").write_bytes(gzip.compress(text))
    for name in ("q.jsonl", "q.jsonl.gz"):
        assert len(Jsonl(path=tmp_path / name).load(PromptFormat())) == 1


@pytest.mark.parametrize(
    ("given", "read"),
    [(None, None), (27.0, "27"), (0.5, "0.5"), (["1", 2.0], "1, 2"), (True, "True")],
)
def test_an_answer_is_read_as_text(tmp_path: Path, given: object, read: str | None) -> None:
    (one,) = Jsonl(path=rows(tmp_path, {"question": "a", "answer": given})).load(PromptFormat())
    assert one.answer == read


def test_fields_may_have_other_names_stand_inside_others_or_be_put_together(
    tmp_path: Path,
) -> None:
    path = rows(tmp_path, {"q": {"text": "f(x)?"}, "code": "f = {1}", "gold": 3, "kind": "hard"})
    mine = Jsonl(
        path=path, question="{code}\n{q.text} {{", answer="gold", labels={"level": "kind"}, name="m"
    )
    (one,) = mine.load(PromptFormat())
    assert one.messages[0].content == "f = {1}\nf(x)? {"
    assert one.answer == "3"
    assert one.labels == {"set": "m", "level": "hard"}


def test_the_answer_may_be_a_part_of_its_field(tmp_path: Path) -> None:
    path = rows(tmp_path, {"question": "a", "answer": "2 and 3.\n#### 5\n#### 1,000 "})
    (one,) = Jsonl(path=path, answer_pattern="#### *(.+)").load(PromptFormat())
    assert one.answer == "1,000"


@pytest.mark.parametrize("pattern", ["(", "no group", "(a)(b)"])
def test_a_pattern_without_one_group_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValidationError, match="answer_pattern"):
        Jsonl(path=tmp_path, answer_pattern=pattern)


@pytest.mark.parametrize(("answer", "letter"), [("b", "B"), ("four", "B"), (0, "A"), ("A", "A")])
def test_a_choice_lists_its_options_and_knows_the_letter(
    tmp_path: Path, answer: object, letter: str
) -> None:
    path = rows(tmp_path, {"question": "2 + 2?", "answer": answer, "options": ["three", "four"]})
    (one,) = Jsonl(path=path, grader="choice").load(PromptFormat(user="{question}!"))
    assert one.messages[0].content == "2 + 2?\n\nA) three\nB) four!"
    assert (one.answer, one.options, one.grader) == (letter, ("three", "four"), "choice")


def test_options_may_stand_in_a_field_each(tmp_path: Path) -> None:
    path = rows(tmp_path, {"question": "?", "answer": "B", "x": 1, "y": 2})
    (one,) = Jsonl(path=path, grader="choice", options=("x", "y")).load(PromptFormat())
    assert one.options == ("1", "2")


def test_code_carries_its_tests(tmp_path: Path) -> None:
    row = {"question": "Write f.", "answer": "f = int", "io": "1", "check": "def check(f): ..."}
    fields = CheckFields(
        suites={"base": "{check}\ncheck({f})", "plus": "check"},
        entry="f",
        before="io",
        packages=("numpy",),
    )
    mine = Jsonl(path=rows(tmp_path, {**row, "f": "f"}), grader="code", checks=fields)
    (one,) = mine.load(PromptFormat())
    assert one.checks == Checks(
        suites={"base": "def check(f): ...\ncheck(f)", "plus": "def check(f): ..."},
        before="1",
        entry="f",
        packages=("numpy",),
    )
    other = Jsonl(path=rows(tmp_path, {**row, "f": "g"}), grader="code", checks=fields)
    assert other.load(PromptFormat())[0].id != one.id


def test_a_list_in_a_text_with_braces_comes_a_line_each(tmp_path: Path) -> None:
    row = {"question": "Write f.", "answer": [1, 2], "tests": ["assert f(1)", "assert f(2)"]}
    fields = CheckFields(suites={"base": "import math\n{tests}"})
    mine = Jsonl(path=rows(tmp_path, row), question="{question} {tests}", checks=fields)
    (one,) = mine.load(PromptFormat())
    assert one.messages[0].content == "Write f. assert f(1)\nassert f(2)"
    assert one.answer == "1, 2"
    assert one.checks is not None
    assert one.checks.suites["base"] == "import math\nassert f(1)\nassert f(2)"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "holds no questions"),
        (["{"], r"mine\.jsonl:1 is not JSON: "),
        (["[" * 100_000], r"mine\.jsonl:1 is not JSON"),
        (["", "[1]"], r"mine\.jsonl:2 is not a JSON object"),
        (['{"problem": "a"}'], r"no field 'question' \(its fields: problem\)"),
        (['{"question": "a"}'], r"no field 'answer' .*set questions\.question"),
        (['{"question": " ", "answer": 1}'], r":1 has no text in 'question'"),
        (['{"question": {"a": 1}, "answer": 1}'], r":1 has a dict in 'question'"),
        (['{"question": "a", "answer": 1}'] * 2, r"mine\.jsonl:2 asks what .*mine\.jsonl:1 asks"),
        (["{"] * 5, r":1 is not JSON.*:2 is not JSON.*:3 is not JSON.*; and 2 more$"),
    ],
)
def test_a_bad_file_is_an_error_that_names_the_lines(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Jsonl(path=written(tmp_path, *lines)).load(PromptFormat())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "A"}, "has no field 'options'"),
        ({"answer": "A", "options": ["one"]}, "has 1 options; set questions.options to a list"),
        ({"answer": "A", "options": "no list"}, "has 0 options"),
        (
            {"answer": "C", "options": ["one", "two"]},
            "the answer 'C', which is not one of its options A to B",
        ),
        ({"answer": 2, "options": ["one", "two"]}, "the answer '2', which is not one"),
    ],
)
def test_a_bad_choice_is_named(tmp_path: Path, row: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=f":1 {said}" if said.startswith("has") else said):
        Jsonl(path=rows(tmp_path, {"question": "?", **row}), grader="choice").load(PromptFormat())


def test_an_answer_that_the_pattern_misses_is_named(tmp_path: Path) -> None:
    path = rows(tmp_path, {"question": "a", "answer": "four"})
    with pytest.raises(ConfigError, match=r":1 has an answer that .* does not match: 'four'"):
        Jsonl(path=path, answer_pattern=r"(\d)").load(PromptFormat())


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "bytes"):
        with pytest.raises(ConfigError, match=rf"cannot read '.*{name}'"):
            Jsonl(path=tmp_path / name).load(PromptFormat())


def test_its_origin_is_the_file_with_its_hash(tmp_path: Path) -> None:
    path = rows(tmp_path, {"question": "a", "answer": 1})
    before = Jsonl(path=path).origin()
    assert isinstance(before, dict)
    assert before["path"] == str(path)
    rows(tmp_path, {"question": "b", "answer": 1})
    assert Jsonl(path=path).origin() != before
