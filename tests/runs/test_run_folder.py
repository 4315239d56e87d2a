import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.core.design import Design
from collab.core.trajectory import (
    Checks,
    Closed,
    Ended,
    Message,
    Question,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Case, Episode
from collab.errors import RunError
from collab.policies.solo import Solo
from collab.runs.run_folder import RunFolder, RunStatus, digest
from collab.scenarios.base import Score

DECIDES = {"budget": 300, "team": {"main": {"id": "plain"}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def episode(case: str) -> Episode:
    log = (
        Wrote(Unit("main", "Hm – 3 + 4.\n", "generated", why="main thinks", ids=(1, 2), tokens=2)),
        Ended("main"),
        Closed("main", "over"),
        Wrote(Unit("main", f"«{case}»", "generated", phase="answer")),
    )
    return Episode(case, Trajectory.replay(log), "answered", sampled=1)


def score(case: str) -> Score:
    return Score(case, "q", "correct", Design(at=0.2, arm="steer"), extracted=f"«{case}»")


ASKED = Question("q", (Message("user", "3 + 4?"),), "7", labels={"level": "easy"})


def add(folder: RunFolder, case: str) -> None:
    folder.add(
        episode(case), Case(case, ASKED, Solo(), design=Design(at=0.2), rival="9"), score(case)
    )


def play(path: Path, cases: Sequence[str]) -> dict[str, Score]:
    """Do what a run does: add what is owed, and return all scores."""
    with RunFolder.enter(path, DECIDES, {}) as folder:
        finished = folder.finished()
        for case in cases:
            if case not in finished:
                add(folder, case)
        return folder.scores()


def cut(path: Path, data: st.DataObject) -> int:
    """Cut a file at some byte; return how many bytes are gone."""
    content = path.read_bytes()
    keep = data.draw(st.integers(0, len(content)), label=path.name)
    path.write_bytes(content[:keep])
    return len(content) - keep


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file grow beyond a size (bytes), as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refuse_entry(path: Path, why: str, decides: dict[str, object] | None = None) -> str:
    with (
        pytest.raises(RunError, match=why) as refused,
        RunFolder.enter(path, decides or DECIDES, {}),
    ):
        pass
    return str(refused.value)


def shuffled(value: object) -> object:
    """Turn the order of all keys round."""
    match value:
        case dict():
            return {key: shuffled(inner) for key, inner in reversed(value.items())}
        case list():
            return list(map(shuffled, value))
        case _:
            return value


@given(st.dictionaries(st.text(), JSON))
def test_the_digest_does_not_depend_on_the_order_of_keys(decides: dict[str, object]) -> None:
    other = shuffled(decides)
    assert isinstance(other, dict)
    assert digest(other) == digest(decides)


@given(st.dictionaries(st.text(), JSON), st.text(), st.integers())
def test_the_digest_changes_with_any_value(
    decides: dict[str, object], key: str, value: int
) -> None:
    changed = {**decides, key: value}
    assert (digest(changed) == digest(decides)) == (
        json.dumps(changed, sort_keys=True) == json.dumps(decides, sort_keys=True)
    )


def test_an_episode_comes_back_as_it_was(tmp_path: Path) -> None:
    with RunFolder.enter(tmp_path / "run", DECIDES, {}) as folder:
        add(folder, "a")
        add(folder, "b")
    read = RunFolder(tmp_path / "run")
    assert [one for one, _ in read.episodes()] == [episode("a"), episode("b")]
    assert read.episode("b")[0] == episode("b")
    assert read.scores() == {"a": score("a"), "b": score("b")}
    assert set(read.finished()) == {"a", "b"}
    with pytest.raises(RunError, match="has no episode 'c'"):
        read.episode("c")


def test_an_episodes_row_says_what_case_it_is(tmp_path: Path) -> None:
    play(tmp_path, "a")
    (row,) = (row for _, row in RunFolder(tmp_path).episodes())
    told = {"question": "q", "policy": "Solo", "labels": {"at": 0.2}, "rival": "9"}
    assert {key: row[key] for key in told} == told


def test_a_question_comes_back_as_it_was(tmp_path: Path) -> None:
    odd = replace(
        ASKED, id="r", options=("half \ud83d", "two"), checks=Checks({"base": "assert 1"})
    )
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        folder.ask([ASKED, odd])
    assert RunFolder(tmp_path).questions() == {"q": ASKED, "r": odd}


@given(st.data())
def test_cut_at_any_byte_a_run_ends_with_the_same_scores(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "run"
    whole = play(path, "abc")
    for name in ("episodes.jsonl", "scores.jsonl"):
        cut(path / name, data)
    torn = RunFolder(path)
    assert torn.scores().keys() <= whole.keys()
    assert [one for one, _ in torn.episodes()] == [episode(c) for c in "abc"][
        : len(list(torn.episodes()))
    ]
    assert play(path, "abc") == whole
    assert sorted(one.case for one, _ in torn.episodes()) == ["a", "b", "c"]
    assert set(torn.finished()) == {"a", "b", "c"}


def test_an_episode_without_its_score_is_played_again_and_comes_once(tmp_path: Path) -> None:
    play(tmp_path / "run", "ab")
    scores = tmp_path / "run" / "scores.jsonl"
    scores.write_text(scores.read_text().splitlines()[0] + "\n")
    assert RunFolder(tmp_path / "run").finished().keys() == {"a"}
    play(tmp_path / "run", "ab")
    assert [one.case for one, _ in RunFolder(tmp_path / "run").episodes()] == ["a", "b"]


def test_a_score_whose_episode_was_lost_counts_for_nothing_whatever_grew_there_since(
    tmp_path: Path,
) -> None:
    play(tmp_path, "abc")
    episodes = tmp_path / "episodes.jsonl"
    lines = episodes.read_bytes().splitlines(keepends=True)
    episodes.write_bytes(b"")
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        assert not folder.finished()
        for _ in range(2):  # as long as what was lost, and of another case
            add(folder, "d")
        assert folder.finished().keys() == {"d"}
    assert len(episodes.read_bytes()) > len(lines[0])
    assert [one.case for one, _ in RunFolder(tmp_path).episodes()] == ["d"]


@settings(max_examples=20)
@given(st.data())
def test_a_manifest_cut_at_any_byte_is_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "run"
    whole = play(path, "ab")
    if cut(path / "manifest.json", data) > 1:  # more than the end of its last line
        refuse_entry(path, r"manifest\.json' is damaged .* move the folder away")
    else:
        assert play(path, "ab") == whole


@pytest.mark.parametrize("name", ["scores.jsonl", "questions.jsonl"])
@pytest.mark.parametrize("junk", [b"\0\0\0\n", b"[]\n"])
def test_a_damaged_line_within_a_file_is_named(tmp_path: Path, name: str, junk: bytes) -> None:
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        folder.ask([ASKED])
        add(folder, "a")
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + junk)
    with pytest.raises(RunError, match=rf"{name}', line 2: damaged .* remove the line"):
        _ = RunFolder(tmp_path).questions(), RunFolder(tmp_path).finished()


def test_a_damaged_episode_is_named(tmp_path: Path) -> None:
    play(tmp_path, "ab")
    episodes = tmp_path / "episodes.jsonl"
    first, second = episodes.read_bytes().splitlines(keepends=True)
    episodes.write_bytes(first + b'{"case":"b",' + second[20:])
    with pytest.raises(RunError, match=rf"episodes\.jsonl', at byte {len(first)}: damaged"):
        list(RunFolder(tmp_path).episodes())


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("separators", [(", ", ": "), (" ,\t", " : ")])
@pytest.mark.parametrize("first", ["case", "log"])
def test_lines_that_were_written_anew_are_read_whatever_their_spaces_and_order(
    tmp_path: Path, separators: tuple[str, str], ascii_only: bool, first: str
) -> None:
    whole = play(tmp_path, "abä")
    for file in tmp_path.glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        rows = [{first: row[first], **row} if first in row else row for row in rows]
        lines = [json.dumps(row, separators=separators, ensure_ascii=ascii_only) for row in rows]
        file.write_text("".join(f"  {line}\r\n" for line in lines))
    read = RunFolder(tmp_path)
    assert read.finished().keys() == whole.keys()
    assert [one for one, _ in read.episodes()] == [episode(case) for case in "abä"]
    assert [*read.holding("«ä»")] == ["ä"]
    assert [*read.holding("", "main")] == [*"abä"]
    assert [*read.holding("", "guide")] == []
    episodes = tmp_path / "episodes.jsonl"
    episodes.write_bytes(episodes.read_bytes()[:-3])  # a torn last line is owed again
    assert RunFolder(tmp_path).finished().keys() == {"a", "b"}
    assert play(tmp_path, "abä") == whole
    assert [one for one, _ in read.episodes()] == [episode(case) for case in "abä"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"finish":"answered"', '"finish":"unheard of"'),
        ('"labels":{"at":0.2}', '"labels":[]'),
        ('"event":"ended"', '"event":"rewound","to":99'),
        ('"sampled":1', '"sampled":' + "9" * 30),
        ('"rival":"9"', '"rival":' + "[" * 400 + "]" * 400),
        ('"costs":', '"cost":'),
    ],
)
def test_a_line_that_is_no_episode_is_named_by_its_file_and_number(
    tmp_path: Path, old: str, new: str
) -> None:
    play(tmp_path, "ab")
    episodes = tmp_path / "episodes.jsonl"
    first, second = episodes.read_text().splitlines()
    assert old in second
    episodes.write_text(f"{first}\n{second.replace(old, new)}\n")
    with pytest.raises(RunError, match=r"episodes\.jsonl', at byte \d+: damaged \(line 2: "):
        list(RunFolder(tmp_path).episodes())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[]", "valid dictionary"),
        ("not JSON", "Expecting value"),
        ("{}", "decides: Field required"),
        ('{"decides": {}, "starts": [1]}', "starts.0: "),
        ('{"decides": {"team": {"main": 3}}, "starts": []}', "decides.team.main: "),
        ('{"decides": {"n": 1' + "0" * 40 + '}, "starts": []}', "63 bits"),
        ('{"decides": ' + '{"x": ' * 9_999, "nested more than 200 levels"),
        (None, "not a regular file"),
    ],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    if content is None:
        (tmp_path / "manifest.json").mkdir()
    else:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(RunError) as refused:
        _ = RunFolder(tmp_path).manifest
    assert why in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_holder_with_any_number_holds_nothing(tmp_path: Path) -> None:
    play(tmp_path, "a")
    for pid in (10**18, 2**31, 4 * 10**6):
        holder = {"host": socket.gethostname(), "pid": pid, "since": ""}
        (tmp_path / ".holder").write_text(json.dumps(holder))
        assert RunFolder(tmp_path).holder is None


def test_a_full_disk_stops_the_run_before_a_line_comes_behind_half_a_one(tmp_path: Path) -> None:
    whole = play(tmp_path / "whole", "ab")
    play(tmp_path / "run", "a")
    size = (tmp_path / "run" / "episodes.jsonl").stat().st_size
    with RunFolder.enter(tmp_path / "run", DECIDES, {}) as folder, files_up_to(size + 9):
        for _ in range(2):
            with pytest.raises(
                RunError, match=r"episodes\.jsonl': .*; free space or fix its permissions"
            ):
                add(folder, "b")
    assert (tmp_path / "run" / "episodes.jsonl").stat().st_size == size
    assert play(tmp_path / "run", "ab") == whole


def test_a_full_disk_leaves_the_manifest_as_it_was(tmp_path: Path) -> None:
    whole = play(tmp_path, "a")
    with files_up_to(9):
        refuse_entry(tmp_path, r"cannot write .*manifest\.json'")
    assert play(tmp_path, "a") == whole


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with RunFolder.enter(tmp_path, DECIDES, {"command": "collab run name=first"}):
        said = refuse_entry(tmp_path, f"is being written by process {os.getpid()} on .* since 20")
        assert said.endswith(": collab run name=first; wait until it has finished")
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        add(folder, "a")


def test_a_dead_writer_holds_nothing(tmp_path: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        assert folder.holder is not None
        assert folder.holder.pid == os.getpid()
        told = (tmp_path / ".holder").read_text()
    assert folder.holder is None
    (tmp_path / ".holder").write_text(told.replace(str(os.getpid()), gone.stdout.strip()))
    assert folder.holder is None
    (tmp_path / ".holder").write_text(told.replace(socket.gethostname(), "elsewhere"))
    assert str(folder.holder).startswith(f"process {os.getpid()} on elsewhere since 20")


def test_how_a_run_stands_comes_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.status is None
    standing = RunStatus("Solo · main x", "level", 4, ["2 left out"], {"q/main": "no reply"})
    folder.write_status(standing)
    assert folder.status == standing
    (tmp_path / "standing.json").write_text("{")
    assert folder.status is None


def test_a_second_process_cannot_write_to_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom collab.runs.run_folder import RunFolder\n"
        f"with RunFolder.enter(Path({str(tmp_path)!r}), {DECIDES!r}, {{}}):\n"
        "    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        refuse_entry(tmp_path, f"is being written by process {other.pid} on ")
        other.kill()
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:  # its lock died with it
        add(folder, "a")


def test_changed_settings_are_refused_and_the_keys_listed(tmp_path: Path) -> None:
    play(tmp_path, "a")
    changed: dict[str, object] = {"budget": 400, "team": {"main": {"id": "plain", "top_p": 0.5}}}
    said = refuse_entry(tmp_path, "holds a run with other settings", changed)
    assert "budget (300 there, 400 here)" in said
    assert "team.main.top_p (None there, 0.5 here)" in said
    assert "team.main.id" not in said
    assert play(tmp_path, "a") == {"a": score("a")}


def test_a_version_alone_does_not_refuse_and_every_start_is_noted(tmp_path: Path) -> None:
    play(tmp_path, "a")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["starts"][0]["versions"]["collab"] = "0.0.1"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    play(tmp_path, "ab")
    starts = RunFolder(tmp_path).manifest["starts"]
    assert len(starts) == 2
    assert starts[0]["versions"]["collab"] == "0.0.1" != starts[1]["versions"]["collab"]


def test_what_json_cannot_tell_apart_is_the_same_setting(tmp_path: Path) -> None:
    with RunFolder.enter(tmp_path, {"shares": (0.2, 0.4), "path": Path("q")}, {}):
        pass
    with RunFolder.enter(tmp_path, {"path": "q", "shares": [0.2, 0.4]}, {}):
        pass


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        _ = RunFolder(tmp_path).manifest


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refuse_entry(tmp_path / "file" / "run", "cannot write .*: Not a directory")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    play(tmp_path, "a")
    tmp_path.chmod(0o500)
    try:
        refuse_entry(tmp_path, "cannot write .*: Permission denied")
    finally:
        tmp_path.chmod(0o700)


def test_a_whole_file_is_replaced_and_leaves_nothing_aside(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("report.txt", "one")
    folder.write("report.txt", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]
    assert (tmp_path / "report.txt").read_text() == "two"


def test_any_text_of_a_model_can_be_kept(tmp_path: Path) -> None:
    odd = 'half \ud83d, \u2028 line, \x1b[31m, \x00, "quoted"\r\n'
    one = Episode("a", Trajectory().add(Wrote(Unit("main", odd, "generated"))), "answered")
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        folder.add(one, Case("a", ASKED, Solo()), replace(score("a"), extracted=odd))
        assert [read for read, _ in folder.episodes()] == [one]
        assert folder.scores()["a"].extracted == odd


def test_a_score_keeps_the_factors_of_its_design_among_its_labels(tmp_path: Path) -> None:
    design = Design(arm="steer", at=0.2, pair="q/3/0.2", original=3)
    kept = replace(score("a"), design=design, labels={"level": "easy", "length": "long"})
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        folder.add(episode("a"), Case("a", ASKED, Solo(), design=design), kept)
    row = json.loads((tmp_path / "scores.jsonl").read_text())
    assert row["labels"] == {"level": "easy", "length": "long", **design.factors}
    assert "design" not in row
    assert RunFolder(tmp_path).scores() == {"a": kept}
