"""Every mistake that a user can make is told in one line, with no traceback."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import pytest

from collab.cli import VERBS
from tests.cli.conftest import Finished, Said, call

SOLO = ("scenario=solo", "policy=solo", "team=solo", "scenario.samples=1", "budget=60")
ONE = (*SOLO, "questions.count=1")
FILE = (*SOLO, "questions=jsonl")
FILES = {
    "afile": b"x",
    "notes.txt": b"mine",
    "torn/policy/mine.yaml": b"a: [1,\nb: {",
    "tab/policy/mine.yaml": b"\tx: 1",
    "utf16/policy/mine.yaml": b"\xff\xfea\x00",
    "list/policy/mine.yaml": b"- a\n",
    "nomodule/policy/mine.yaml": b"_target_: nomodule_at_all.X\n",
    "syntax/policy/mine.yaml": b"_target_: syntax_at_all.X\n",
    "syntax/syntax_at_all.py": b"def (",
    "memory/policy/mine.yaml": b"_target_: memory_at_all.X\n",
    "memory/memory_at_all.py": b"raise MemoryError\n",
    "deep/policy/mine.yaml": b"a: " + b"[" * 3000,
    "torn.jsonl": b'{"question": ',
    "utf16.jsonl": b"\xff\xfe{\x00",
}
MISTAKES: Sequence[tuple[Sequence[str], str]] = (
    (("nonsense",), "unknown command 'nonsense'"),
    (("--nonsense",), "unknown command '--nonsense'"),
    (("ls", "afile"), "'afile' is not a folder"),
    (("ls", "nowhere"), "'nowhere' is not a folder"),
    (("report", "nowhere"), "'nowhere' is not a folder"),
    (("view", "nowhere", "--no-browser"), "is not a folder"),
    (("show", "nowhere"), "'nowhere' is not a run folder"),
    (("export", "afile"), "'afile' is not a run folder"),
    (("label", "nowhere"), "'nowhere' is not a run folder"),
    (("regrade", "nowhere"), "'nowhere' is not a run folder"),
    (("fork", "nowhere", "x"), "is not a run folder"),
    (("watch", "nowhere"), "'nowhere' is not a folder"),
    (("repro", "nowhere"), "is no table or figure"),
    (("plan", "-cd", "torn", "policy=mine"), "torn/policy/mine.yaml, line 2: this is no YAML"),
    (("run", "-cd", "torn", "policy=mine"), "torn/policy/mine.yaml, line 2: this is no YAML"),
    (("run", "-cd", "tab", "policy=mine"), "tab/policy/mine.yaml, line 1: this is no YAML"),
    (("run", "-cd", "utf16", "policy=mine"), "utf16/policy/mine.yaml' cannot be read"),
    (("run", "-cd", "deep", "policy=mine"), "nested too deeply"),
    (("plan", "-cd", "list", "policy=mine"), "policy: Input should be a valid dictionary"),
    (("plan", "--trust", "-cd", "nomodule", "policy=mine"), "No module named 'nomodule_at_all'"),
    (("plan", "-cd", "syntax", "policy=mine"), "SyntaxError"),
    (("plan", "-cd", "memory", "policy=mine"), "MemoryError"),
    (("plan", "-cd", "afile"), "afile' does not exist"),
    (("run", "-cd"), "-cd needs a folder"),
    (("run", "policy=nonsense"), "there is no policy 'nonsense'"),
    (("run", "budget=abc"), "budget: Input should be a valid integer"),
    (("run", "budget=[1,"), "cannot read 'budget=[1,'"),
    (("run", "budget=${oc.env:NO_SUCH_VARIABLE}"), "NO_SUCH_VARIABLE"),
    (("run", "budget=${nothing}"), "'nothing' not found"),
    (("run", "nonsense"), "a setting is key=value"),
    (("play", "What", "is", "1", "+", "1?"), "a text with spaces goes in quotes"),
    (("run", "policy=gide"), "no policy 'gide'; did you mean 'guide'? (there are: aggregate,"),
    (("run", "-m", "policy=guide,gide"), "no policy 'gide'; did you mean 'guide'?"),
    (("doctor", "model=vlm"), "there is no model 'vlm'; did you mean 'vllm'?"),
    (
        ("run", "polcy=guide"),
        "no setting 'polcy'; did you mean 'policy' (decides who writes next)?",
    ),
    (("plan", "budgt=4"), "no setting 'budgt'; did you mean 'budget' (tokens of opening and "),
    (
        ("run", "scenario.sampels=2"),
        "no setting 'scenario.sampels'; did you mean 'scenario.samples' (solo draws per question)?",
    ),
    (("run", "+scenario.sampels=2"), "no such setting; did you mean 'samples'?"),
    (("run", "samples=2"), "no setting 'samples'; did you mean 'scenario.samples' (solo"),
    (("run", "budgt=4", "scenario.pints=[1]"), "no setting 'budgt'; did you mean 'budget'"),
    (
        ("run", "questions=jsonl", "questions.count=2"),
        "no setting 'questions.count' (settings in questions: cohort, ",
    ),
    (("run", "model=plain"), "set the model of a seat: model@team.SEAT=NAME (seats: main, "),
    (("run", "team.main.model=plain"), "set the model of a seat: model@team.SEAT=NAME"),
    (("run", "nonsense=1"), "there is no setting 'nonsense'"),
    (("run", "+nonsense=1"), "there is no such setting"),
    (("run", "~policy"), "policy: Field required"),
    (("run", "name=\udcff"), "cannot read"),
    (("run", "-m", "hydra/launcher=nonsense"), "there is no hydra/launcher 'nonsense'"),
    (("run", "name=../../x"), "name: String should match"),
    (("run", *ONE, "runs=afile"), "cannot write 'afile/run/"),
    (("run", "-m", *ONE, "runs=afile", "replicate=0,1"), "'afile/run': Not a directory"),
    (("run", *ONE, "runs=/proc/nowhere"), "cannot write '/proc/nowhere/run/"),
    (("run", *ONE, "name=" + "a" * 300), "File name too long"),
    (("run", *ONE, "store.url=."), "cannot use the store ."),
    (("run", *ONE, "store.url=afile/x"), "cannot use the store afile/x"),
    (("run", *ONE, "store.url=notes.txt"), "it is not a database"),
    (("run", *ONE, "store.url="), "store.url names no file"),
    (("run", *ONE, "store.url=nonsense://x"), "is neither a path nor one of"),
    (("run", *FILE, "questions.path=nowhere.jsonl"), "nowhere.jsonl"),
    (("run", *FILE, "questions.path=torn.jsonl"), "torn.jsonl"),
    (("run", *FILE, "questions.path=utf16.jsonl"), "utf16.jsonl"),
    (("play", "What is 1?", "policy=nonsense"), ""),
    (("doctor", "model=nonsense"), "there is no model 'nonsense'"),
    (("doctor", "model=vllm"), "Missing mandatory value: id"),
    (("launch", "model=nonsense"), "there is no model 'nonsense'"),
    (("serve", "team=solo", "policy=solo", "--port", "99999"), "port 99999 is out of range"),
    (("pocket", "--port", "99999"), "port 99999 is out of range"),
    (("pocket", "nonsense"), "nonsense"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files that are not what they should be."""
    for name, body in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(said: Said) -> str:
    """Return the one line that a mistake is told in."""
    assert said.status not in (0, None)
    assert "Traceback" not in said.out + said.err
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "told"), MISTAKES, ids=[" ".join(words)[-60:] for words, _ in MISTAKES]
)
def test_a_mistake_is_told_in_one_line(
    here: Path, launched: None, words: Sequence[str], told: str
) -> None:
    assert told in one_line(call(*words))


def test_a_file_that_is_no_store_stays_as_it_is(here: Path, launched: None) -> None:
    call("run", *ONE, "store.url=notes.txt")
    assert (here / "notes.txt").read_bytes() == b"mine"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_has_help_and_names_a_flag_that_it_does_not_know(verb: str) -> None:
    helped = call(verb, "--help")
    assert (helped.status, helped.err) == (0, "")
    assert "usage: " in helped.out
    wrong = call(verb, "--no-such-flag")
    assert wrong.status == 2
    assert "Traceback" not in wrong.err
    assert "error: " in wrong.err.splitlines()[-1]


def test_a_port_that_is_taken_is_told(finished: Finished) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = one_line(call("view", str(finished.folder), "--no-browser", "--port", port))
        assert f"cannot listen on '127.0.0.1', port {port}: Address already in use" in line
        line = one_line(call("pocket", "--port", port))
    assert "Address already in use" in line


def start(*words: str, **more: object) -> "subprocess.Popen[str]":
    """Start the command as a shell does."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # its own keywords
        [sys.executable, "-m", "collab", *words],
        stdout=more.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ended(process: "subprocess.Popen[str]") -> Said:
    """Wait for a process."""
    out, err = process.communicate(timeout=120)
    return Said(process.returncode, out or "", err)


@pytest.mark.parametrize("words", [("--help",), ("ls", "{runs}")], ids=["print", "Rich"])
def test_nobody_who_reads_ends_a_command_quietly(finished: Finished, words: Sequence[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        said = ended(start(*(word.format(runs=finished.runs) for word in words), stdout=write))
    finally:
        os.close(write)
    assert (said.status, said.err) == (141, "")


def test_a_run_that_is_terminated_ends_in_order_and_stops_its_servers(
    here: Path, finished: Finished
) -> None:
    servers = here / "servers"
    servers.mkdir()
    env = {**os.environ, "TMPDIR": str(servers)}
    env.pop("COLLAB_SERVERS", None)
    process = start("run", *SOLO, "questions.count=200", "concurrency=2", cwd=here, env=env)
    for _ in _until(lambda: any(here.glob("runs/*/*/scores.jsonl")), process):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = ended(process)
    assert said.status == 143
    assert said.err == "terminated: what was sampled is stored; the same command continues\n"
    assert list(servers.glob("collab-servers-*/*")) == []
    assert list(here.glob("runs/*/*/spent.json"))


def _until(true: object, process: "subprocess.Popen[str]") -> Iterator[None]:
    """Yield until something is true; the process must not end before."""
    assert callable(true)
    while not true():
        assert process.poll() is None, ended(process)
        yield


def test_little_is_loaded_before_ctrl_c_is_heard() -> None:
    source = "import sys; import collab.cli; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("instant", [0.001, 0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 2.0])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_is_one_line(
    here: Path, instant: float, stop: signal.Signals
) -> None:
    source = (
        "import os, sys, threading; from collab.cli import main; sys.argv[0] = 'collab'; "
        f"late = threading.Timer({instant}, os.kill, (os.getpid(), {int(stop)})); "
        "late.daemon = True; late.start(); sys.exit(main())"
    )
    made = subprocess.run(
        [sys.executable, "-c", source, "run", *ONE],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode in (128 + stop, 0)
    assert "Traceback" not in made.stderr
    assert len(made.stderr.splitlines()) <= 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"TERM": "nonsense", "COLUMNS": "abc", "LINES": "-3"}, ("ls",)),
        ({"COLUMNS": "0"}, ("report",)),
        ({"LC_ALL": "xx_YY", "LANG": "xx"}, ("ls",)),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, ("report",)),
        ({"TZ": "Nowhere/Nowhere"}, ("ls",)),
    ],
)
def test_an_odd_environment_breaks_nothing(
    finished: Finished, env: dict[str, str], words: Sequence[str]
) -> None:
    said = ended(start(*words, str(finished.runs), env=os.environ | env))
    assert (said.status, said.err) == (0, "")


@pytest.mark.long
@pytest.mark.parametrize("words", [("ls",), ("run", *ONE), ("plan", *ONE)])
def test_a_working_directory_that_is_gone_is_told(tmp_path: Path, words: Sequence[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    source = (
        "import os, sys; os.rmdir(os.getcwd()); from collab.cli import main; "
        f"sys.exit(main({list(words)!r}))"
    )
    made = subprocess.run(
        [sys.executable, "-c", source], cwd=gone, capture_output=True, text=True, check=False
    )
    one_line(Said(made.returncode, made.stdout, made.stderr))


@pytest.mark.long
@pytest.mark.parametrize("words", [("ls",), ("--help",), ("report",)])
def test_a_full_disk_behind_stdout_is_told(finished: Finished, words: Sequence[str]) -> None:
    given = [*words, *([str(finished.runs)] if words != ("--help",) else [])]
    with Path("/dev/full").open("w") as full:
        said = ended(start(*given, stdout=full))
    assert "No space left on device" in one_line(said)


@pytest.mark.long
@pytest.mark.parametrize("size", [4096, 20_000, 60_000, 150_000, 300_000])
def test_a_disk_that_is_full_at_any_point_is_one_line_and_keeps_what_fits(
    here: Path, launched: None, size: int
) -> None:
    words = ("run", *SOLO, "questions.count=40", "scenario.samples=3")

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    said = ended(start(*words, cwd=here, preexec_fn=small))
    if said.status == 0:
        return
    line = one_line(said)
    assert line.startswith("error: ")
    again = ended(start(*words, cwd=here))
    assert (again.status, again.err) == (0, "")


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root, setpriv")
@pytest.mark.parametrize("words", [("run", *ONE), ("run", "-m", *ONE, "budget=60,61")])
def test_a_folder_that_may_not_be_written_is_told_before_anything_is_sampled(
    here: Path, words: Sequence[str]
) -> None:
    here.chmod(0o555)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    ours = takewhile(lambda folder: folder != Path(tempfile.gettempdir()), here.parents)
    for folder in ours:
        folder.chmod(folder.stat().st_mode | 0o055)
    made = subprocess.run(
        [*nobody, sys.executable, "-m", "collab", *words],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    line = one_line(Said(made.returncode, made.stdout, made.stderr))
    assert "Permission denied" in line
    assert "in the store" not in line
