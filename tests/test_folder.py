import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.engine import Episode
from collab.errors import RunError
from collab.folder import RunFolder, digest
from collab.scenario import Score
from collab.trajectory import Closed, Ended, Trajectory, Unit, Wrote

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
    return Score(case, "q", "correct", {"at": 0.2, "arm": "steer"}, extracted=f"«{case}»")


def add(folder: RunFolder, case: str) -> None:
    folder.add(episode(case), {"question": "q", "asked": [], "answer": "7"}, score(case))


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


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_the_digest_does_not_depend_on_the_order_of_keys(decides: dict[str, object]) -> None:
    other = shuffled(decides)
    assert isinstance(other, dict)
    assert digest(other) == digest(decides)


@settings(max_examples=30)
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
    assert [row["answer"] for _, row in read.episodes()] == ["7", "7"]
    assert read.scores() == {"a": score("a"), "b": score("b")}
    assert read.finished() == {"a", "b"}


@settings(max_examples=40)
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
    assert torn.finished() == {"a", "b", "c"}


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


def test_a_damaged_line_within_a_file_is_named(tmp_path: Path) -> None:
    play(tmp_path, "abc")
    scores = tmp_path / "scores.jsonl"
    first, second, third = scores.read_bytes().splitlines(keepends=True)
    scores.write_bytes(first + second[:9] + b"\n" + third)
    with pytest.raises(RunError, match=r"scores\.jsonl', line 2: damaged .* take the line out"):
        play(tmp_path, "abc")


def test_a_full_disk_stops_the_run_before_a_line_comes_behind_half_a_one(tmp_path: Path) -> None:
    whole = play(tmp_path / "whole", "ab")
    play(tmp_path / "run", "a")
    size = (tmp_path / "run" / "episodes.jsonl").stat().st_size
    with RunFolder.enter(tmp_path / "run", DECIDES, {}) as folder, files_up_to(size + 9):
        for _ in range(2):
            with pytest.raises(
                RunError, match=r"episodes\.jsonl': File too large; what was sampled"
            ):
                add(folder, "b")
    assert (tmp_path / "run" / "episodes.jsonl").stat().st_size == size
    assert play(tmp_path / "run", "ab") == whole


def test_an_episode_without_its_score_is_played_again_and_comes_once(tmp_path: Path) -> None:
    play(tmp_path / "run", "ab")
    scores = tmp_path / "run" / "scores.jsonl"
    scores.write_text(scores.read_text().splitlines()[0] + "\n")
    assert RunFolder(tmp_path / "run").finished() == {"a"}
    play(tmp_path / "run", "ab")
    assert [one.case for one, _ in RunFolder(tmp_path / "run").episodes()] == ["a", "b"]


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with RunFolder.enter(tmp_path, DECIDES, {"command": "collab run name=first"}):
        said = refuse_entry(tmp_path, f"is being written by process {os.getpid()} on ")
        assert said.endswith(": collab run name=first; wait for it")
    with RunFolder.enter(tmp_path, DECIDES, {}) as folder:
        add(folder, "a")


def test_a_second_process_cannot_write_to_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom collab.folder import RunFolder\n"
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
    with pytest.raises(RunError, match="is no run folder"):
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
        folder.add(one, {"question": "q"}, score("a"))
        assert [read for read, _ in folder.episodes()] == [one]
