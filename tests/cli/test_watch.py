from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from collab.cli import watch
from collab.core.trajectory import (
    Asked,
    Chose,
    Closed,
    Edited,
    Ended,
    Event,
    Forked,
    Message,
    PlayedBranch,
    Question,
    Rewound,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Case, Episode
from collab.policies.solo import Solo
from collab.runs.live_view import LiveView, LiveViewer, Playing
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

Command = Callable[..., Any]  # any: what conftest says a command comes to
MESSAGES = (Message("user", "3 + 4?\x1b[2J"),)


def wrote(author: str, text: str, **more: Any) -> Wrote:  # any: of a unit
    return Wrote(Unit(author, text, "generated", f"{author} may", **more))


LOG: tuple[Event, ...] = (
    wrote("main", "One. "),
    wrote("guide", "\x1b]0;owned\x07Two. "),
    Edited(1, None, "it is wrong"),
    Asked("main", "Sure?", "Yes."),
    Forked((PlayedBranch((wrote("main", "or so"),), "stopped"),), "unsure"),
    Chose(0, "better"),
    Rewound(1, "again"),
    Ended("main"),
    Closed("main", "it is done"),
    wrote("main", "7", phase="answer"),
)


def shown_through(path: Path, case: str = "q1/steer") -> None:
    """Show an episode to whoever looks, from its begin to its end."""
    LiveViewer(path).look()
    hole, whole = LiveView(path), Playing(case, MESSAGES, Trajectory.replay(LOG))
    hole.show({case: whole})
    hole.end(whole, "answered", "wrong")


def test_elsewhere_than_on_a_terminal_each_event_is_a_line(
    command: Command, tmp_path: Path
) -> None:
    with RunFolder.enter(tmp_path / "run", {}, {}) as folder:
        shown_through(folder.path)
        said = command("watch", str(tmp_path), "steer")
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[1:-1] == [
        "q1/steer",
        "user: 3 + 4?\\x1b[2J",
        "main · thinking · generated · main may: One.",
        "guide · thinking · generated · guide may: \\x1b]0;owned\\x07Two.",
        "unit 1 struck: it is wrong",
        "main was asked 'Sure?' and replied 'Yes.'",
        "1 branches from here: unsure",
        "branch 1 continues: better",
        "back to unit 1: again",
        "main ended its thinking",
        "thinking closed, main answers: it is done",
        "main · answer · generated · main may: 7",
        "answered, wrong",
    ]
    assert not (tmp_path / "run" / ".looked").exists()


def test_on_a_terminal_what_was_struck_is_struck_out(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=StringIO(), force_terminal=True, width=100, height=20)
    monkeypatch.setattr(watch, "Console", lambda: screen)
    monkeypatch.setattr(watch, "REST", 0)
    with RunFolder.enter(tmp_path / "run", {}, {}) as folder:
        shown_through(folder.path)
        command("watch", str(folder.path), "q1")
    assert isinstance(screen.file, StringIO)
    said = screen.file.getvalue()
    assert "\x1b[2;9;35m\\x1b]0;owned\\x07Two. \x1b[0m" in said
    assert "[struck: it is wrong]" in said
    assert "\x1b]0;owned" not in said
    assert "answered, wrong" in said


def test_a_run_that_is_over_ends_the_watch(command: Command, tmp_path: Path) -> None:
    with RunFolder.enter(tmp_path / "run", {}, {}) as folder:
        shown_through(folder.path)
        job = watch.running_run(tmp_path)
    assert [seen.case for seen in watch.snapshots(job, LiveViewer(folder.path))] == ["q1/steer"]


def test_where_no_run_goes_on_the_way_to_those_that_are_over_is_named(
    command: Command, tmp_path: Path
) -> None:
    with RunFolder.enter(tmp_path / "run", {}, {}):
        pass
    said = command("watch", str(tmp_path))
    assert said.error.startswith(f"error: no run is running in {str(tmp_path)!r}: start one")


def test_an_episode_that_is_over_is_to_be_seen_otherwise(command: Command, tmp_path: Path) -> None:
    question = Question("q", MESSAGES, "7")
    with RunFolder.enter(tmp_path / "run", {}, {}) as folder:
        episode = Episode("q1/steer", Trajectory.replay(LOG), "answered")
        folder.ask([question])
        folder.add(episode, Case("q1/steer", question, Solo()), Score("q1/steer", "q", "wrong"))
        said = command("watch", str(tmp_path), "steer")
    assert "'q1/steer' is over; see it with: collab show" in said.error
