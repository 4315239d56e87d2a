"""Traces that were sampled elsewhere, in place of solo draws."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.core.trajectory import Message, Question, Recording
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from collab.policies.solo import Solo as Alone
from collab.scenarios.base import Bank, Plan
from collab.scenarios.solo import SoloScenario

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
ANSWERS = {"one": "A", "two": "B", "three": "C"}
OPTIONS = "\n\nA) x\nB) y\nC) z"
SET = ["questions=jsonl", "questions.path=set.jsonl", "questions.grader=choice"]
BANK = "+team.main.bank.name=mine"
RAN = [
    *("run", "scenario.samples=2", "scenario.points=[0.4]", "scenario.controls=[]", "budget=600"),
    *(BANK, *SET),
]


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two traces on each of three questions, by one model, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    asked = {"options": ["x", "y", "z"]}
    rows_of_set = ({"question": f"{n}?", "answer": a, **asked} for n, a in ANSWERS.items())
    written(tmp_path / "set.jsonl", rows_of_set)
    return written(tmp_path / "traces.jsonl", rows())


def rows() -> Iterable[dict[str, Any]]:
    for name, answer in ANSWERS.items():
        for how in ("Hm", "So"):
            thought = f"{how}, {name}. I think. It is {name}."
            told = {"reasoning": thought, "response": f"\\boxed{{{answer}}}", "correct": True}
            yield {"question": f"{name}?{OPTIONS}", "answer": answer, "model": "theirs", **told}


def written(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_plays_imported_traces_and_samples_no_solo_draws(
    command: Command, traces: Path, scripted: Scripted, letters: Tokenizer
) -> None:
    said = command("import", "mine", str(traces), "--field", "temperature=t", *SET)
    assert (said.status, said.err) == (0, "")
    (row,) = (line for line in said.out.splitlines() if line.startswith("theirs"))
    assert row.split() == ["theirs", "6", "3", "6", "6", "6", "of", "6", "6", "of", "6"]
    assert "+team.main.bank.name=mine '+team.main.bank.model=\"theirs\"'" in said.out
    assert not Path("runs/banks/mine/questions.jsonl").exists(), "the set has them"

    with scripted("Oh. It is so.</think>\\boxed{A}") as bench:
        ran = command(*RAN, *bench.words, "team.main.revision=v1")
        drawn = [one.body for one in bench.server.generating if one.body["max_tokens"] > 1]
    assert (ran.status, ran.err) == (0, "")
    assert "main: recorded traces of theirs replace its solo draws (bank mine" in ran.out
    assert "0 of 3 questions have fewer than 2, and 0 have none and are left out" in ran.out
    prompts = [letters.decode(body["prompt"]) for body in drawn]
    assert prompts
    assert all("Hm, " in one or "So, " in one for one in prompts), (
        "what is sampled goes on from a trace"
    )
    (folder,) = Path("runs/run").iterdir()
    decides = json.loads((folder / "manifest.json").read_text())["decides"]
    assert decides["banks"]["main"]["name"] == "mine"
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    units = [json.loads(line)["log"][0]["unit"] for line in lines]
    assert {unit["kind"] for unit in units} == {"recorded"}
    assert all(len(unit["ids"]) == unit["tokens"] for unit in units)


def test_traces_are_found_in_the_prompts_of_a_batch(
    command: Command, tmp_path: Path, traces: Path
) -> None:
    asked = written(tmp_path / "one.jsonl", [{"question": "one?", "answer": "1"}])
    turns = [{"role": "user", "content": "Please reason step by step. one?"}]
    requests = written(
        tmp_path / "requests.jsonl",
        [{"custom_id": "a", "body": {"messages": turns, "temperature": 0.6}}],
    )
    reply = {"model": "m", "choices": [{"message": {"reasoning": "Hm.", "content": "1"}}]}
    done = {"custom_id": "a", "response": {"body": reply}}
    lost = {"custom_id": "b", "response": {"body": reply}}
    replies = written(tmp_path / "replies.jsonl", [done, lost])
    said = command(
        *("import", "batch", str(replies), "--requests", str(requests)),
        *("questions=jsonl", f"questions.path={asked}"),
    )
    assert (said.status, said.err) == (0, "")
    assert "left out: replies.jsonl:2 holds no question" in said.out
    (line,) = Path("runs/banks/batch/traces.jsonl").read_text().splitlines()
    trace = json.loads(line)
    assert trace["sampling"] == {"temperature": 0.6}
    assert trace["recording"]["correct"] is True
    assert not Path("runs/banks/batch/questions.jsonl").exists()


def test_a_folder_is_read_as_a_dataset_of_the_hub_is(
    command: Command, tmp_path: Path, traces: Path
) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    traces.rename(tmp_path / "set" / "data" / "a.jsonl")
    said = command("import", "mine", str(tmp_path / "set"), "--files", "data/*.jsonl")
    assert "done: 6 traces in runs/banks/mine" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["mine", "nix.jsonl"],
            "'nix.jsonl' is not a file; for a dataset or a folder add --files",
        ),
        (["a/b", "traces.jsonl"], "'a/b' is no name for a bank"),
        (
            ["mine", "traces.jsonl", "--field", "nix=a"],
            "--field nix=… is unknown; use one of",
        ),
        (["mine", "traces.jsonl", "--field", "thinking=nix"], "holds no trace: traces.jsonl:1"),
        (["mine", "empty.jsonl"], "'empty.jsonl' holds no trace: it is empty"),
        (["mine", "two.jsonl"], "'one?' has two answers: 'A', 'B'"),
        (
            ["mine", "traces.jsonl", "questions=jsonl", "questions.path=other.jsonl"],
            "none of 6 traces is on a question of the set",
        ),
    ],
)
def test_an_import_that_cannot_be_says_why(
    command: Command, traces: Path, words: list[str], said: str
) -> None:
    written(Path("other.jsonl"), [{"question": "four?", "answer": "4"}])
    written(Path("empty.jsonl"), [])
    written(Path("two.jsonl"), ({**row, "question": "one?"} for row in rows()))
    assert said in command("import", *words).error
    assert not Path("runs/banks/mine/traces.jsonl").exists()


def test_a_run_that_cannot_play_a_bank_says_why(command: Command, traces: Path) -> None:
    nothing = command("run", "+team.main.bank.name=nix")
    assert "there is no bank 'nix' in 'runs/banks' (banks: none)" in nothing.error
    written(traces, [*rows(), *({**row, "model": "others"} for row in rows())])
    assert command("import", "mine", str(traces), *SET).status == 0
    several = command(*RAN)
    assert (
        "bank 'mine' holds several models; set bank.model to one of 'theirs' (6), 'others' (6)"
        in (several.error)
    )
    idle = command("run", "scenario=collaboration", "policy=solo", "team=solo", BANK)
    assert "team.main.bank would have no effect" in idle.error


async def test_solo_reports_no_recorded_traces_as_draws_of_its_model() -> None:
    asked = Question("one", (Message("user", "one?"),), "1")
    bank = Bank([asked], {"main": {"one": (Recording("one", "Hm.", 2, model="theirs"),)}})
    with pytest.raises(ConfigError, match="seat 'main' has recorded traces"):
        await Plan.of(SoloScenario().cases(bank, Alone()))
