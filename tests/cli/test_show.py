import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collab.core.trajectory import (
    Asked,
    Closed,
    Ended,
    Message,
    Question,
    Rewound,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Case, Episode
from collab.policies.solo import Solo
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

Command = Callable[..., Any]  # any: what conftest says a command comes to
HOSTILE = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe [red]x[/] [/b] :smile: \x9b31m"


def folder_with(path: Path, *cases: str, text: str = "Hm.\n", given: str = "7") -> Path:
    with RunFolder.enter(path, {}, {}) as folder:
        for case in cases:
            log = (
                Wrote(Unit("guide", text, "recorded", why=f"guide begins{text}", tokens=3)),
                Wrote(Unit("main", "So 7.\n", "generated", why="main goes on", tokens=4)),
                Asked("main", "Sure?", text),
                Rewound(1, "again"),
                Ended("main"),
                Closed("main", "main closed its thinking"),
                Wrote(Unit("main", given, "generated", phase="answer", tokens=1)),
                Stopped("enough"),
            )
            asked = Question("q", (Message("user", f"3 + 4?{text}"),), "7")
            folder.ask([asked])
            folder.add(
                Episode(case, Trajectory.replay(log), "answered"),
                Case(case, asked, Solo()),
                Score(case, "q", "correct", extracted=given, tokens=5),
            )
    return path


def test_a_run_is_listed_with_every_episodes_verdict(command: Command, finished: Any) -> None:
    said = command("show", str(finished.folder))
    assert (said.status, said.err) == (0, "")
    scores = RunFolder(finished.folder).scores()
    lines = said.out.splitlines()
    for case, score in scores.items():
        assert [line for line in lines if line.startswith(case + " ") and score.verdict in line]


def test_a_run_that_a_dead_server_left_behind_says_so(command: Command, tmp_path: Path) -> None:
    dead = ("team.main.launch=null", "+team.main.base_url=http://127.0.0.1:9")
    words = ("scenario=solo", "policy=solo", "team=solo", "questions.count=1", f"runs={tmp_path}")
    ended = command("run", *words, *dead, "+team.main.limits.retries=0")
    assert ended.status == 1
    why = ended.error.removeprefix("error: ")
    (manifest,) = tmp_path.rglob("manifest.json")
    run = str(manifest.parent)
    for verb in (("show", run), ("show", run, "easy")):
        assert command(*verb).error == (
            f"error: {run!r} holds no finished episode yet; its last start ended with: {why}"
        )
    assert f"stopped, 0 episodes: {why}" in command("report", run).out.splitlines()
    assert f"ERROR collab.app.run stopped: {why}" in (manifest.parent / "run.log").read_text()


def test_long_ids_stand_whole_on_one_line(command: Command, tmp_path: Path) -> None:
    long = "middle-0123456789ab/7/0.8/middle-ba9876543210/7/" + "model@0123456789ab" * 3
    said = command("show", str(folder_with(tmp_path, long)))
    assert any(line.startswith(long + " ") for line in said.out.splitlines())


def test_a_list_is_cut_where_asked_and_says_so(command: Command, tmp_path: Path) -> None:
    said = command("show", str(folder_with(tmp_path, "a", "b", "c")), "--limit", "2")
    assert [line[:2] for line in said.out.splitlines()[1:]] == ["a ", "b ", "… "]
    assert "1 more" in said.out


def test_an_episode_is_printed_with_the_reason_of_each_hand_off(
    command: Command, tmp_path: Path
) -> None:
    out = command("show", str(folder_with(tmp_path, "case/1")), "case/1").out
    told = [
        "case/1",
        "user: 3 + 4?Hm.",
        "guide · thinking · recorded · 3 tokens · guide begins",
        "Hm.",
        "main · thinking · generated · 4 tokens · main goes on",
        "So 7.",
        "main was asked 'Sure?'",
        "back to unit 1: again",
        "main ended its thinking",
        "thinking closed, main answers: main closed its thinking",
        "main · answer · generated · 1 tokens",
        "stopped: enough",
        "correct (given '7', gold answer '7')",
    ]
    at = 0
    for line in told:
        assert line in out[at:], line
        at = out.index(line, at)


def test_a_part_of_the_id_is_enough_where_only_one_has_it(command: Command, tmp_path: Path) -> None:
    run = str(folder_with(tmp_path, "one/1", "two/2", "two/22"))
    assert command("show", run, "ne/").out.startswith("one/1")
    assert command("show", run, "two/2").out.startswith("two/2\n")
    many = command("show", run, "two")
    assert (many.status, many.out) == (1, "")
    assert "2 episodes match, such as 'two/2', 'two/22'" in many.error
    assert "no episode matches" in command("show", run, "three").error


def test_an_episode_that_was_played_twice_is_one_episode(command: Command, tmp_path: Path) -> None:
    folder_with(tmp_path, "one/1")
    (tmp_path / "scores.jsonl").write_text("")
    folder_with(tmp_path, "one/1")
    assert command("show", str(tmp_path), "one").status == 0


def test_hostile_text_stands_as_text(command: Command, tmp_path: Path) -> None:
    run = str(folder_with(tmp_path, "case" + HOSTILE, text=HOSTILE, given=HOSTILE))
    for words in ([run], [run, "case"], [run, "\x1b nobody"]):
        said = command("show", *words)
        both = said.out + said.err
        assert not set("\x1b\x07\x9b\u202e") & set(both)
        assert "\\x1b" in both
    shown = command("show", run, "case").out
    assert "\\x1b[2J\\x1b]0;owned\\x07 \\u202egnp.exe [red]x[/] [/b] :smile:" in shown


def test_a_torn_run_is_read_up_to_its_last_whole_line(command: Command, tmp_path: Path) -> None:
    folder_with(tmp_path, "a", "b", text="über")
    for name in ("episodes.jsonl", "scores.jsonl"):
        lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
        torn = lines[1][: lines[1].index("ü".encode()) + 1] if "ep" in name else lines[1][:5]
        (tmp_path / name).write_bytes(lines[0] + torn)
    assert command("show", str(tmp_path)).out.splitlines()[1].startswith("a ")
    assert command("show", str(tmp_path), "a").status == 0


def test_what_is_no_run_is_one_line(command: Command, tmp_path: Path) -> None:
    assert "is not a run folder" in command("show", str(tmp_path / "nowhere")).error
    (tmp_path / "manifest.json").write_text(json.dumps({"decides": {}, "starts": []}))
    assert "holds no finished episode yet" in command("show", str(tmp_path)).error
