import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab.errors import ConfigError
from collab.questions import Jsonl, Pocket, Prompt
from collab.trajectory import Message


def written(folder: Path, *lines: str) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_user_turn_stands_around_the_question() -> None:
    prompt = Prompt(user="{question}\nThink {hard}.", system="Be brief.")
    assert prompt.messages("1 + {question}?") == (
        Message("system", "Be brief."),
        Message("user", "1 + {question}?\nThink {hard}."),
    )
    assert Prompt().messages("1?") == (Message("user", "1?"),)


def test_a_user_turn_without_the_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="lacks"):
        Prompt(user="Think.")


def test_a_line_of_the_file_is_a_question(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"question": "1+1?", "answer": 2}', "", '{"question": "x", "answer": "y"}'
    )
    one, other = Jsonl(path=path).load(Prompt(user="Q: {question}"))
    assert one.messages == (Message("user", "Q: 1+1?"),)
    assert (one.answer, other.answer) == ("2", "y")
    assert one.labels == {"level": "mine"}


def test_a_question_keeps_its_id_whatever_the_prompt_and_its_place(tmp_path: Path) -> None:
    lines = ['{"question": "a", "answer": "1"}', '{"question": "b", "answer": "2"}']
    first = Jsonl(path=written(tmp_path, *lines)).load(Prompt())
    again = Jsonl(path=written(tmp_path, *reversed(lines))).load(Prompt(user="{question}!"))
    assert [one.id for one in first] == [one.id for one in reversed(again)]
    assert first[0].id != first[1].id


@given(st.lists(st.text(), min_size=1, max_size=4, unique=True))
def test_any_text_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("questions") / "q.jsonl"
    rows = (json.dumps({"question": t, "answer": "1"}, ensure_ascii=False) for t in texts)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    assert [q.messages[0].content for q in Jsonl(path=path).load(Prompt())] == texts


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a", "answer": "1"}\r\n', encoding="utf-8-sig", newline="")
    assert len(Jsonl(path=path).load(Prompt())) == 1


def test_a_null_answer_is_no_answer(tmp_path: Path) -> None:
    (one,) = Jsonl(path=written(tmp_path, '{"question": "a", "answer": null}')).load(Prompt())
    assert one.answer is None


def test_other_field_names_and_a_limit_are_settings(tmp_path: Path) -> None:
    path = written(tmp_path, *(f'{{"problem": "{n}", "gold": {n}}}' for n in range(5)))
    questions = Jsonl(path=path, question="problem", answer="gold", limit=2).load(Prompt())
    assert [one.answer for one in questions] == ["0", "1"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "holds no questions"),
        (["{"], r"mine\.jsonl:1 is no JSON: "),
        (["", "[1]"], r"mine\.jsonl:2 is no JSON object"),
        (['{"problem": "a"}'], r"no field 'question' \(it has: problem\)"),
        (['{"question": "a"}'], r"no field 'answer' .*set questions\.question"),
        (['{"question": "a", "answer": 1}'] * 2, r"mine\.jsonl:2 asks what line 1 asks"),
    ],
)
def test_a_bad_file_is_an_error_that_names_the_line(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Jsonl(path=written(tmp_path, *lines)).load(Prompt())


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "bytes"):
        with pytest.raises(ConfigError, match=rf"cannot read questions.path='.*{name}'"):
            Jsonl(path=tmp_path / name).load(Prompt())


def test_pocket_problems_are_told_apart_by_level_and_seed() -> None:
    made = Pocket(levels=("easy", "hard"), count=3).load(Prompt())
    assert [one.labels["level"] for one in made] == ["easy"] * 3 + ["hard"] * 3
    assert len({one.id for one in made}) == 6
    assert Pocket(levels=("easy", "hard"), count=3).load(Prompt()) == made
    assert not {q.id for q in made} & {q.id for q in Pocket(count=9, seed=1).load(Prompt())}
    assert all(one.answer and one.answer.lstrip("-").isdigit() for one in made)


@pytest.mark.parametrize("levels", [("huge",), (), ("easy", "easy")])
def test_unknown_no_and_repeated_levels_are_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="levels"):
        Pocket(levels=levels)
