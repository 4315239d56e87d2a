import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab import play
from collab.endpoints.scripted import recite
from collab.errors import ConfigError
from collab.policies.random_switch import RandomSwitch
from collab.policies.self_handoff import SelfHandoff

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
THOUGHT = "It is 3 and 4.\nSo 7.\n</think>The answer is \\boxed{7}."


def test_a_question_is_played_and_every_reason_printed(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(THOUGHT) as bench:
        said = command(
            "play", *bench.words, "question=What is 3 + [4]?", f"runs={tmp_path / 'runs'}"
        )
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "What is 3 + [4]?"
    assert lines[1].startswith("main · thinking · generated · ")
    assert "main thinks alone" in lines[1]
    assert lines[2:4] == ["It is 3 and 4.", "So 7."]
    assert "The answer is \\boxed{7}." in lines
    assert lines[-1].startswith("answered after ")
    assert not (tmp_path / "runs" / "run").exists()


def test_what_was_played_is_stored_and_not_sampled_again(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted([THOUGHT, "Hm.</think>7"]) as bench:
        words = ["play", *bench.words, "question=3 + 4?", f"runs={tmp_path / 'runs'}"]
        first = command(*words)
        sent = len(bench.server.generating)
        again = command(*words)
        assert len(bench.server.generating) == sent + 1  # the look at the server's begin
    assert again == first


async def test_python_plays_a_policy_of_its_own_where_a_loop_runs_already(
    scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(recite(THOUGHT)) as bench:
        words = [*bench.words, f"runs={tmp_path / 'runs'}"]
        played = play(*words, policy=SelfHandoff(), question="What is 3 + 4?")
        assert played.trajectory.thinking == "It is 3 and 4.\nSo 7.\n"
        assert len(played.trajectory.units) > 1
        assert (played.finish, played.case) == ("answered", "play/What is 3 + 4?")
        assert re.fullmatch(r"(easy|middle|hard)-\w+", play(*words).case)
        with pytest.raises(ConfigError, match="seat 'partner' is not in the team"):
            play(*words, policy=RandomSwitch())


@pytest.mark.parametrize(
    "words",
    [
        ["play", "question=3 + 4?"],
        ["run", "~scenario.against", "scenario.alone=null", "questions.count=1"],
    ],
    ids=["play", "run"],
)
def test_nothing_is_drawn_over_what_a_human_types(
    command: Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setattr("sys.stdin", io.StringIO("So 7.\n/close\n\nIt is 7.\n\n"))
    seated = ["scenario=collaboration", "policy=solo", "team=solo", "model@team.main=human"]
    said = command(*words[:1], *seated, *words[1:], f"runs={tmp_path / 'runs'}")
    assert said.status == 0, said.err
    assert "\x1b[1m[main] The next unit" in said.err
    assert "\x1b[?25l" not in said.out, "a display that is drawn again hides the cursor"


def test_two_models_take_turns(command: Command, tmp_path: Path) -> None:
    said = command(
        "play",
        "team=pair",
        "policy=alternate",
        "boundary=sentence",
        "budget=40",
        "question=Mia has 3 pens. She buys 4. How many pens does she have now?",
        f"runs={tmp_path / 'runs'}",
    )
    assert said.err == ""
    assert "unit 1 of 1 in turn 1" in said.out
    assert "partner · thinking · generated" in said.out
    assert (said.status == 0) == said.out.splitlines()[-1].startswith("answered")


def test_a_tool_computes_what_the_thinking_asks_for_and_a_plan_runs_nothing(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    thought = "So <code>3 * 4</code>\n<output>\n12\n</output>\nIt is 12.</think>The answer is 12."
    words = ("policy=tool", "+model@team.tool=python", "team.tool.sandbox=unsafe_subprocess")
    with scripted(recite(thought)) as bench:
        more = [*bench.words, *words, f"runs={tmp_path / 'runs'}"]
        said = command("play", *more, "question=3 * 4?")
        planned = command("plan", *more, "scenario=collaboration", "questions.count=1")
    assert (said.status, said.err) == (0, "")
    assert "tool was asked '3 * 4' and replied '12'" in said.out
    assert "call 1: '3 * 4'" in said.out
    assert "The answer is 12." in said.out
    assert (planned.status, planned.err) == (0, "")


def test_without_a_question_the_first_of_the_set_is_played(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(THOUGHT) as bench:
        said = command("play", *bench.words, f"runs={tmp_path / 'runs'}")
        assert bench.server.generating
    assert re.match(r"\w+ has \d+ \w+\.", said.out)
    assert said.status == 0


def test_a_thought_that_never_closes_fails(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("on and on " * 50) as bench:
        said = command(
            "play", *bench.words, "question=Why?", "budget=60", f"runs={tmp_path / 'runs'}"
        )
    assert said.status == 1
    assert said.out.splitlines()[-1] == "never closed after 60 tokens"


def test_hostile_text_stands_as_text(command: Command, scripted: Scripted, tmp_path: Path) -> None:
    with scripted("\x1b[2J [red]so[/]</think>\x07") as bench:
        said = command("play", *bench.words, "question=\x1b[31mred", f"runs={tmp_path / 'runs'}")
    assert not {"\x1b", "\x07"} & set(said.out)
    assert "\\x1b[2J [red]so[/]" in said.out


@pytest.mark.parametrize("words", [["question= "], ["nonsense=1"], ["policy=nonsense"]])
def test_a_bad_setting_is_one_line(command: Command, tmp_path: Path, words: list[str]) -> None:
    said = command("play", *words, f"runs={tmp_path / 'runs'}")
    assert said.status == 1
    assert said.error
    assert not (tmp_path / "runs").exists()
