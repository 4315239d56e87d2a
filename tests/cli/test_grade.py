import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]  # any: what conftest says a command comes to


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def verdicts(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_has_its_verdict_in_the_order_of_the_file(
    command: Command, tmp_path: Path
) -> None:
    rows = [{"id": n, "gold": n % 7, "answer": rf"\boxed{{{n % 5}}}"} for n in range(300)]
    said = command("grade", str(written(tmp_path / "a.jsonl", *rows)))
    found = verdicts(said.out)
    assert said.status == 0
    assert [one["id"] for one in found] == [row["id"] for row in rows]
    right = [n % 7 == n % 5 for n in range(300)]
    assert [one["verdict"] == "correct" for one in found] == right
    assert f"300 answers: {right.count(False)} wrong, {right.count(True)} correct" in said.err
    assert {"line", "by", "extracted", "strict", "lenient"} <= found[0].keys()


def test_a_line_that_cannot_be_graded_is_named_and_the_others_are_graded(
    command: Command, tmp_path: Path
) -> None:
    path = written(
        tmp_path / "a.jsonl",
        {"gold": "1", "answer": "1"},
        {"gold": "1"},
        {"answer": "1"},
        {"gold": "A", "answer": "A", "domain": "colour"},
    )
    path.write_text(f"{path.read_text()}not json\n\n")
    said = command("grade", str(path))
    assert said.status == 1
    assert [one["line"] for one in verdicts(said.out) if "error" in one] == [2, 3, 4, 5]
    assert "line 2: answer: Field required" in said.err
    assert "line 3: the gold answer is missing" in said.err
    assert "line 4: domain 'colour' has no grader" in said.err
    assert "line 5: not JSON" in said.err
    assert "5 answers: 4 not graded, 1 correct" in said.err


def test_domain_and_out_are_taken_from_the_command_line(command: Command, tmp_path: Path) -> None:
    row = {"gold": "B", "answer": "The answer is (B).", "options": ["x", "y"]}
    path, out = written(tmp_path / "a.jsonl", row), tmp_path / "out.jsonl"
    said = command("grade", str(path), "--domain", "choice", "--out", str(out))
    assert (said.status, said.out) == (0, "")
    assert [one["verdict"] for one in verdicts(out.read_text())] == ["correct"]


def test_a_file_that_is_not_there_is_one_line(command: Command, tmp_path: Path) -> None:
    said = command("grade", str(tmp_path / "none.jsonl"))
    assert "cannot be read: No such file" in said.error
