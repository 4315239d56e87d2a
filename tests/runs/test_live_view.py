import os
from pathlib import Path

import pytest

from collab.core.trajectory import Ended, Event, Message, Trajectory, Unit, Wrote
from collab.errors import RunError
from collab.runs.live_view import LOOK, LOOKED, SHOWN, LiveView, LiveViewer, Playing

ASKED = (Message("user", "3 + 4?\ud800"),)


def playing(case: str, *log: Event) -> dict[str, Playing]:
    return {case: Playing(case, ASKED, Trajectory.replay(log))}


def wrote(text: str) -> Wrote:
    return Wrote(Unit("main", text, "generated", "it has the pen"))


def test_nothing_is_written_while_nobody_looks(tmp_path: Path) -> None:
    LiveView(tmp_path).show(playing("a", wrote("One.")))
    assert list(tmp_path.iterdir()) == []


def test_who_looks_sees_an_episode_grow_and_end(tmp_path: Path) -> None:
    hole, eye = LiveView(tmp_path), LiveViewer(tmp_path)
    assert eye.look() is None
    hole.show(playing("a", wrote("One.")))
    seen = eye.look()
    assert seen is not None
    assert (seen.case, seen.messages, seen.finish) == ("a", ASKED, "")
    grown = playing("a", wrote("One."), wrote(" Two.\udc80"), Ended("main"))
    hole.end(grown["a"], "answered", "correct")
    seen = eye.look()
    assert seen is not None
    assert seen.trajectory == grown["a"].trajectory
    assert (seen.finish, seen.verdict) == ("answered", "correct")


def test_each_event_is_written_once(tmp_path: Path) -> None:
    hole = LiveView(tmp_path)
    LiveViewer(tmp_path).look()
    for log in ([wrote("One.")], [wrote("One."), wrote("Two.")], [wrote("One."), wrote("Two.")]):
        hole.show(playing("a", *log))
    assert len((tmp_path / SHOWN).read_bytes().splitlines()) == 3


def test_when_one_episode_is_over_another_is_seen_from_its_begin(tmp_path: Path) -> None:
    hole, eye = LiveView(tmp_path), LiveViewer(tmp_path)
    eye.look()
    hole.show(playing("a", wrote("One.")))
    hole.end(playing("a", wrote("One."))["a"], "answered", "correct")
    hole.show(playing("b", wrote("Other.")))
    seen = eye.look()
    assert seen is not None
    assert (seen.case, seen.trajectory.thinking, seen.finish) == ("b", "Other.", "")


def test_a_wanted_case_is_waited_for(tmp_path: Path) -> None:
    hole, eye = LiveView(tmp_path), LiveViewer(tmp_path, "q2")
    eye.look()
    hole.show(playing("q1/steer", wrote("One.")))
    assert eye.look() is None
    hole.show(playing("q1/steer", wrote("One.")) | playing("q2/steer", wrote("Two.")))
    seen = eye.look()
    assert seen is not None
    assert seen.case == "q2/steer"


def test_an_old_look_counts_no_more_and_what_it_showed_is_not_shown_again(tmp_path: Path) -> None:
    hole = LiveView(tmp_path)
    LiveViewer(tmp_path).look()
    hole.show(playing("a", wrote("One.")))
    size = (tmp_path / SHOWN).stat().st_size
    looked = (tmp_path / LOOKED).stat().st_mtime
    os.utime(tmp_path / LOOKED, (0, looked - LOOK - 1))
    hole.show(playing("a", wrote("One."), wrote("Two.")))
    assert (tmp_path / SHOWN).stat().st_size == size
    eye = LiveViewer(tmp_path)
    assert eye.look() is None
    hole.show(playing("a", wrote("One."), wrote("Two.")))
    seen = eye.look()
    assert seen is not None
    assert seen.trajectory.thinking == "One.Two."
    eye.close()
    assert not (tmp_path / LOOKED).exists()


def test_a_torn_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    hole, eye = LiveView(tmp_path), LiveViewer(tmp_path)
    eye.look()
    hole.show(playing("a", wrote("One.")))
    whole = (tmp_path / SHOWN).read_bytes()
    inode = (tmp_path / SHOWN).stat().st_ino
    (tmp_path / SHOWN).write_bytes(whole[:-10])
    assert (tmp_path / SHOWN).stat().st_ino == inode
    seen = eye.look()
    assert seen is not None
    assert seen.trajectory.log == ()
    (tmp_path / SHOWN).write_bytes(whole)
    seen = eye.look()
    assert seen is not None
    assert seen.trajectory.thinking == "One."


def test_a_folder_that_nobody_may_write_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot view .*nowhere"):
        LiveViewer(tmp_path / "nowhere").look()
