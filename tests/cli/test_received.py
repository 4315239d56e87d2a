"""A folder from elsewhere is data: nothing that it says is started, sent or read elsewhere."""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from collab.app.prompts import Prompts
from collab.app.rebuild_config import _literal
from collab.report.served import viewer
from collab.runs.run_folder import RunFolder
from collab.serving import serve

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
SECRET, OUTSIDE = "sk-secret-of-the-reader", "text of a file outside"
FORK = ("three/1", "--at", "2", "policy=solo")


@dataclass(frozen=True)
class Trap:
    """What must stay as it is whatever is read."""

    folder: Path
    listening: socket.socket

    @property
    def program(self) -> str:
        """A program that leaves a trace."""
        file = self.folder / "program.sh"
        file.write_text(f"#!/bin/sh\ntouch {self.folder / 'started'}\n")
        file.chmod(0o755)
        return str(file)

    @property
    def outside(self) -> Path:
        """A file that no folder holds."""
        file = self.folder / "outside.jsonl"
        file.write_text(json.dumps({"question": OUTSIDE, "answer": OUTSIDE}) + "\n")
        return file

    @property
    def url(self) -> str:
        """An address that nobody may ask."""
        return "http://{}:{}/v1".format(*self.listening.getsockname())

    def check(self, said: Any) -> None:  # any: what conftest says a command comes to
        """Make sure that nothing was started, sent, read or shown, and nothing fell over."""
        assert not (self.folder / "started").exists()
        with pytest.raises(BlockingIOError):
            self.listening.accept()
        for text in (SECRET, OUTSIDE, "Traceback"):
            assert text not in said.out + said.err


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    monkeypatch.setenv("SECRET", SECRET)
    (tmp_path / "trap").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield Trap(tmp_path / "trap", listening)


def rewrite(folder: Path, **settings: object) -> None:
    """Change the config in a manifest, keys by their dotted names with `__` for dots."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, value in settings.items():
        *path, last = name.split("__")
        at = manifest["config"]
        for part in path:
            at = at[part] if isinstance(at.get(part), dict) else at.setdefault(part, {})
        at[last] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))


def wanted(trap: Trap) -> dict[str, tuple[Mapping[str, object], str]]:
    """Return what a config may want, each with how a refusal says it."""
    vllm = {"kind": "vllm", "python": trap.program}
    return {
        "sandbox": ({"grader__code__sandbox": "unsafe_subprocess"}, "run programs without a san"),
        "limits": ({"grader__code__limits__memory": 2**40}, "allow programs memory=1099511627776"),
        "launch": ({"team__main__launch": vllm}, f"start \"{trap.program} '…'\""),
        "address": ({"team__main__base_url": trap.url}, f"send to {trap.url!r}"),
        "socket": ({"team__main__uds": "/run/x.sock"}, "send to the socket '/run/x.sock'"),
        "key": (
            {"team__main__base_url": trap.url, "team__main__api_key_env": "SECRET"},
            "send the secret in the environment variable SECRET",
        ),
        "extra": ({"team__main__extra": {"x": "${oc.env:SECRET}"}}, "send the request fields 'x'"),
        "checkpoint": ({"team__main__checkpoint": str(trap.folder)}, f"read '{trap.folder}'"),
        "pocket": ({"team__main__checkpoint": "pocket/../../x"}, "read 'pocket/../../x'"),
        "database": ({"store__url": trap.url.replace("http", "postgresql")}, "send to 'postgresql"),
        "store": ({"store__url": "/elsewhere/x.sqlite"}, "write to '/elsewhere/x.sqlite'"),
        "class": ({"boundary": {"_target_": "antigravity.Fly"}}, "load 'antigravity.Fly'"),
    }


KINDS = [
    *("sandbox", "limits", "launch", "address", "socket", "key", "extra", "checkpoint", "pocket"),
    *("database", "store", "class"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_of_a_strangers_run_says_what_it_wants_and_does_nothing(
    command: Command, kept: Any, trap: Trap, kind: str
) -> None:
    settings, says = wanted(trap)[kind]
    rewrite(kept.folder, **settings)
    said = command("fork", str(kept.folder), *FORK)
    assert f"wants to {says}" in said.error or f" and {says}" in said.error
    assert "is not a run of yours (" in said.error
    assert "add --trust if it may, or set " in said.error
    trap.check(said)
    assert [path.name for path in kept.folder.parent.iterdir()] == [kept.folder.name]


def test_a_strangers_run_of_the_defaults_is_forked_without_a_question(
    command: Command, kept: Any
) -> None:
    said = command("fork", str(kept.folder), "three/1", "--at", "2", "policy=solo", "team=solo")
    assert (said.status, said.err) == (0, "")


def test_answers_that_are_code_are_not_run_unprotected_because_a_manifest_says_so(
    command: Command, kept: Any, trap: Trap
) -> None:
    rewrite(kept.folder, grader__code__sandbox="unsafe_subprocess")
    questions = kept.folder / "questions.jsonl"
    row = json.loads(questions.read_text())
    program = f"import os\nos.system({trap.program!r})\ndef f(): pass"
    row |= {"grader": "code", "checks": {"suites": {"base": "f()"}, "entry": "f"}}
    questions.write_text(json.dumps(row) + "\n")
    episodes = kept.folder / "episodes.jsonl"
    answer = json.dumps(f"```python\n{program}\n```")[1:-1]
    episodes.write_text(episodes.read_text().replace("So the answer is 3.", answer))
    said = command("regrade", str(kept.folder))
    assert "wants to run programs without a sandbox" in said.error
    trap.check(said)
    said = command("regrade", str(kept.folder), "--trust")
    assert (trap.folder / "started").exists()
    assert "Traceback" not in said.err


def test_what_a_judge_wants_is_asked_before_it_is_seated(
    command: Command, kept: Any, trap: Trap
) -> None:
    rewrite(kept.folder, team__main__base_url=trap.url, grader__judge={"seat": "main"})
    said = command("regrade", str(kept.folder))
    assert f"wants to send to {trap.url!r}" in said.error
    trap.check(said)
    rewrite(kept.folder, grader__judge=None)
    assert command("regrade", str(kept.folder)).status == 0  # rules ask nobody


def test_what_is_typed_is_agreed_to_and_no_more(command: Command, kept: Any, trap: Trap) -> None:
    rewrite(kept.folder, team__main__base_url=trap.url, team__main__api_key_env="SECRET")
    said = command("fork", str(kept.folder), *FORK, "team.main.base_url=http://127.0.0.1:9/v1")
    assert "wants to send the secret in the environment variable SECRET; " in said.error
    trap.check(said)


def test_no_text_of_a_manifest_is_resolved_even_where_the_run_is_trusted(
    command: Command, kept: Any, trap: Trap, scripted: Scripted
) -> None:
    with scripted("It is so.</think>So \\boxed{4}.") as bench:
        settings = dict(word.split("=", 1) for word in bench.words[1:])
        one: dict[str, Any] = {  # any: JSON
            **{key.removeprefix("team.main."): value for key, value in settings.items()},
            "kind": "model",
            "revision": "v1",
            "extra": {"user": "${oc.env:SECRET}"},
        }
        rewrite(kept.folder, team={"main": one})
        said = command("fork", str(kept.folder), *FORK, "--trust")
        bodies = [request.body for request in bench.server.generating]
    assert (said.status, said.err) == (0, "")
    assert {body["user"] for body in bodies} == {"${oc.env:SECRET}"}
    assert SECRET not in said.out + str(bodies)


@given(st.text(alphabet="\\${}ab:.'\"\n?") | st.text())
def test_any_text_of_a_manifest_stays_what_it_is(text: str) -> None:
    if text != "???":
        held = OmegaConf.create({"text": _literal(text)})
        assert OmegaConf.to_container(held, resolve=True) == {"text": text}


def test_a_name_that_climbs_does_not_say_where_the_runs_are(
    command: Command, kept: Any, tmp_path: Path
) -> None:
    rewrite(kept.folder, name="a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p")
    assert command("regrade", str(kept.folder)).status == 0
    rewrite(kept.folder, name="../../..")
    assert "name: " in command("regrade", str(kept.folder)).error


READING = [
    ("show", "RUN"),
    ("show", "RUN", "three/0"),
    ("ls", "RUN"),
    ("report", "RUN"),
    ("export", "RUN"),
    ("export", "RUN", "--form", "inspect"),
    ("label", "RUN"),
    ("watch", "RUN"),
    ("fork", "RUN", "three/0"),
    ("fork", "RUN", *FORK),
    ("regrade", "RUN"),
    ("cohort", "RUN", "--solved", "1", "--to", "cohort.json"),
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_no_verb_does_what_a_strangers_folder_wants(
    command: Command, kept: Any, trap: Trap, words: tuple[str, ...]
) -> None:
    for settings, _ in wanted(trap).values():
        rewrite(kept.folder, **settings)
    path = str(trap.outside)
    rewrite(kept.folder, questions__path=path, scenario__thoughts=path, team__main__uds=None)
    said = command(*(str(kept.folder) if word == "RUN" else word for word in words))
    trap.check(said)
    for file in kept.folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_a_served_page_does_nothing_that_a_strangers_folder_wants(kept: Any, trap: Trap) -> None:
    for settings, _ in wanted(trap).values():
        rewrite(kept.folder, **settings)
    with serve(viewer(kept.folder, Prompts)) as url:
        told = ""
        for where in ("data", "data/run", "data/episode", "data/results", "data/find"):
            words = {"run": kept.folder.name, "episode": "three/0", "text": "Step"}
            told += httpx2.get(f"{url}/{where}", params=words, timeout=60, trust_env=False).text
    assert "Step 0. " in told
    assert not (trap.folder / "started").exists()
    assert SECRET not in told


def test_a_prompt_is_not_laid_out_by_files_that_a_stranger_names(kept: Any, trap: Trap) -> None:
    rewrite(kept.folder, team__main__checkpoint=str(trap.folder))
    folder = RunFolder(kept.folder)
    trajectory = folder.episode("three/0")[0].trajectory
    manifest = json.loads((kept.folder / "manifest.json").read_text())
    manifest["decides"]["models"] = {"main": {}}
    (kept.folder / "manifest.json").write_text(json.dumps(manifest))
    unit = next(unit for unit in trajectory.units if unit.author == "main")
    with pytest.raises(Exception, match=r"wants to read .* add --trust if it may"):
        Prompts(folder)("three", unit, trajectory)
    with pytest.raises(Exception, match=r"has no tokenizer\.json"):
        Prompts(folder, trust=True)("three", unit, trajectory)


LINKS = [
    *((words, "questions.jsonl") for words in READING),
    *((("show", "RUN"), name) for name in ("episodes.jsonl", "scores.jsonl", "manifest.json")),
    (("export", "RUN"), "export"),
]


@pytest.mark.parametrize(("words", "name"), LINKS)
def test_a_link_out_of_a_folder_is_not_followed(
    command: Command, kept: Any, trap: Trap, words: tuple[str, ...], name: str
) -> None:
    file = kept.folder / name
    file.unlink(missing_ok=True)
    file.symlink_to(trap.folder if name == "export" else trap.outside)
    before = sorted(trap.folder.iterdir())
    said = command(*(str(kept.folder) if word == "RUN" else word for word in words))
    assert f"is a link to {os.path.realpath(file)!r}, outside the folder" in said.out + said.err
    trap.check(said)
    assert sorted(trap.folder.iterdir()) == before


def test_no_file_outside_is_overwritten_through_a_link(
    command: Command, kept: Any, trap: Trap
) -> None:
    for name in (".report.html.new", ".looked", ".holder", ".lock", "run.log", "ratings.jsonl"):
        (kept.folder / name).unlink(missing_ok=True)
        (kept.folder / name).symlink_to(trap.outside)
        before = trap.outside.read_text()
        for verb in ("report", "watch", "label", "regrade"):
            said = command(verb, str(kept.folder))
            assert "outside the folder" in said.err
        (kept.folder / name).unlink()
        assert trap.outside.read_text() == before


def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(command: Command, kept: Any) -> None:
    (kept.folder / "standing.json").unlink()
    os.mkfifo(kept.folder / "standing.json")
    assert "is a pipe or a device" in command("report", str(kept.folder)).error


@pytest.mark.parametrize("where", ["case", "author", "title", "label"])
def test_no_text_of_a_folder_acts_on_the_terminal(command: Command, kept: Any, where: str) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[link=http://evil.example]x[/link][bold]"
    name, old = {
        "case": ("scores.jsonl", "three/0"),
        "author": ("episodes.jsonl", "partner"),
        "title": ("standing.json", "Collaboration · main"),
        "label": ("scores.jsonl", '"together"'),
    }[where]
    new = json.dumps(evil) if old.startswith('"') else json.dumps(evil)[1:-1]
    for file in {name, "episodes.jsonl"} if where == "case" else {name}:
        path = kept.folder / file
        path.write_text(path.read_text().replace(old, new))
    for words in (["show"], ["ls"], ["report"], ["export"]):
        said = command(words[0], str(kept.folder))
        assert "\x1b" not in said.out + said.err
        assert "Traceback" not in said.err
    units = command("fork", str(kept.folder), "three/1")
    assert "\x1b" not in units.out + units.err
    assert where != "author" or "[bold]" in units.out


@pytest.fixture
def own(scripted: Scripted, command: Command, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A run of this user's, on a server that was typed."""
    with scripted("It is so.</think>So \\boxed{4}.") as bench:
        words = [*bench.words, "team.main.revision=v1", "scenario=solo", "scenario.samples=2"]
        words += ["questions.count=1", "policy=solo", "budget=100", "team=solo", "name=own"]
        said = command("run", *words, f"runs={tmp_path / 'runs'}")
        assert (said.status, said.err) == (0, "")
        (folder,) = (tmp_path / "runs" / "own").iterdir()
        yield bench, folder


def goes_on(command: Command, folder: Path, *words: str) -> Any:  # any: conftest's Said
    (case, *_) = RunFolder(folder).finished()
    return command("fork", str(folder), case, "--at", "0", "policy=solo", *words)


def test_own_runs_go_on_without_a_question_wherever_they_were_moved(
    command: Command, own: tuple[Any, Path], tmp_path: Path
) -> None:
    _, folder = own
    assert (goes_on(command, folder).status, goes_on(command, folder).err) == (0, "")
    moved = tmp_path / "elsewhere" / folder.name
    copytree(folder, moved)
    assert goes_on(command, moved, f"store.url={tmp_path / 'moved.sqlite'}").status == 0


def test_a_run_that_was_changed_or_comes_from_another_user_is_not_ones_own(
    command: Command, own: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, folder = own
    file = folder / "manifest.json"
    text = file.read_text()
    sent = len(bench.server.requests)
    rewrite(folder, team__main__extra={"x": 1})
    assert "(its mark is not yours, or its config was changed)" in goes_on(command, folder).error
    file.write_text(re.sub(r'"mark": "\w+"', '"mark": ""', text))
    assert "(it carries no mark of yours)" in goes_on(command, folder).error
    file.write_text(text)
    file.chmod(0o666)
    assert "(any user may write to manifest.json)" in goes_on(command, folder).error
    file.chmod(0o644)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert "wants to send to 'http://127.0.0.1:" in goes_on(command, folder).error
    assert not (tmp_path / "other").exists()
    assert len(bench.server.requests) == sent
    assert goes_on(command, folder, "--trust").status == 0


def conf(folder: Path, text: str, option: str = "experiment/theirs.yaml") -> Path:
    """Write a conf folder with one experiment."""
    file = folder / "conf" / option
    file.parent.mkdir(parents=True)
    head = "# @package _global_\ndefaults:\n  - override /team: solo\n  - override /policy: solo\n"
    file.write_text(f"{head}  - override /scenario: solo\n{text}")
    return folder / "conf"


CONFS = {
    "questions: {_target_: collab.questions.Jsonl, path: OUTSIDE}": "read 'OUTSIDE'",
    "store: {url: 'postgresql://me:hush@127.0.0.1:PORT/x'}": "send to 'postgresql://me:***@127",
    "store: {url: OUTSIDE}": "write to 'OUTSIDE'",
    "team: {main: {checkpoint: OUTSIDE}}": "read 'OUTSIDE'",
    "team: {main: {launch: {kind: vllm, python: PROGRAM}}}": 'start "PROGRAM',
    "team: {main: {base_url: 'http://127.0.0.1:PORT'}}": "send to 'http://127.0.0.1:PORT'",
    "grader: {code: {sandbox: unsafe_subprocess}}": "run programs without a sandbox",
    "boundary: {_target_: antigravity.Fly}": "load 'antigravity.Fly'",
    "budget: ${oc.env:SECRET}": "read the environment variable SECRET",
    "name: x-${oc.env:SECRET}": "read the environment variable SECRET",
    "hydra: {callbacks: {x: {_target_: os.system, command: PROGRAM}}}": "set hydra.callbacks.x._t",
    "hydra: {sweeper: {params: {+team.main.uds: 'a,b'}}}": "send to the socket 'a'",
}


@pytest.mark.parametrize("text", CONFS)
def test_a_strangers_conf_folder_does_nothing_that_was_not_typed(
    command: Command, trap: Trap, tmp_path: Path, text: str
) -> None:
    port = str(trap.listening.getsockname()[1])
    marks = {"OUTSIDE": str(trap.outside), "PORT": port, "PROGRAM": trap.program}
    says = CONFS[text]
    for mark, value in marks.items():
        text, says = text.replace(mark, value), says.replace(mark, value)
    folder = conf(tmp_path, text + "\n")
    words = ["-cd", str(folder), "experiment=theirs", f"runs={tmp_path / 'runs'}"]
    said = command("plan", *words)
    assert f"wants to {says}" in said.error
    assert "hush" not in said.err
    trap.check(said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("verb", ["run", "play", "import", "prune", "serve", "launch", "doctor"])
def test_no_verb_does_what_a_strangers_conf_folder_wants(
    command: Command, trap: Trap, tmp_path: Path, verb: str
) -> None:
    text = "hydra: {callbacks: {x: {_target_: os.system, command: PROGRAM}}}\n"
    text += "team: {main: {base_url: 'URL'}}\ngrader: {code: {sandbox: unsafe_subprocess}}\n"
    folder = conf(tmp_path, text.replace("PROGRAM", trap.program).replace("URL", trap.url))
    given = ["traces", str(trap.outside)] if verb == "import" else []
    words = ["-cd", str(folder), "experiment=theirs", f"runs={tmp_path / 'runs'}"]
    said = command(verb, *given, *words)
    assert f"send to {trap.url!r}" in said.error
    trap.check(said)


def test_a_conf_file_that_leads_out_of_its_folder_is_not_read(
    command: Command, trap: Trap, tmp_path: Path
) -> None:
    folder = conf(tmp_path, "")
    (folder / "experiment" / "linked.yaml").symlink_to(trap.outside)
    said = command("plan", "-cd", str(folder), "experiment=theirs")
    assert f"wants to read '{trap.outside}'" in said.error
    trap.check(said)
    (folder / "experiment" / "linked.yaml").unlink()
    (folder / "experiment" / "up.yaml").write_text("defaults:\n  - /../../trap/outside\n")
    assert "wants to read files outside of it" in command("plan", "-cd", str(folder)).error


def test_what_a_conf_folder_holds_itself_is_read_and_what_is_typed_is_agreed_to(
    command: Command, tmp_path: Path
) -> None:
    text = "  - override /questions: jsonl\nquestions: {path: PATH, name: mine}\n"
    folder = conf(tmp_path, text.replace("PATH", str(tmp_path / "conf" / "mine.jsonl")))
    (folder / "mine.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "2"}\n')
    words = ["plan", "-cd", str(folder), "experiment=theirs", f"runs={tmp_path / 'runs'}"]
    said = command(*words)
    assert (said.status, said.err) == (0, "")
    typed = command(*words, f"store.url={tmp_path / 'mine.sqlite'}", "name=${oc.env:HOME}x")
    assert "name: " in typed.error  # it was resolved, and is no name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("traces.jsonl", "[" * 100_000),
        ("traces.jsonl", '{"question": ' * 5_000),
        ("traces.json", "[" * 100_000),
        ("traces.jsonl", '{"question": "q", "text": "t", "tokens": 1' + "0" * 5_000 + "}"),
        ("traces.csv", "question\n" + "x" * 200_000),
        ("traces.jsonl.gz", "no gzip"),
    ],
)
def test_a_trace_file_that_cannot_be_read_is_one_line(
    command: Command, tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content + "\n")
    said = command("import", "t", str(file), f"runs={tmp_path / 'runs'}")
    assert said.status == 1
    assert said.error
