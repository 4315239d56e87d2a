"""What the tests of the command line share: one finished run, and how to call the command."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from collab.app.compose import composed
from collab.cli import main
from collab.core.design import Design
from collab.core.trajectory import Closed, Ended, Event, Message, Question, Trajectory, Unit, Wrote
from collab.endpoints.scripted import (
    TEMPLATE,
    Api,
    Failure,
    Script,
    ScriptedServer,
    Trait,
    WordTokenizer,
)
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, Episode
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score
from collab.serving import serve

SMALL = (
    "questions.count=3",
    "questions.levels=[easy]",
    "scenario.samples=2",
    "scenario.originals=3",
    "scenario.points=[0.0,0.4]",
    "budget=200",
)


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr, which must be all that is there."""
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        assert "Traceback" not in self.out
        return line


Command = Callable[..., Said]


def call(*words: str) -> Said:
    """Run a command in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Said(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def command(launched: None) -> Command:
    """Return how to call the command in this process."""
    return call


@pytest.fixture(scope="session")
def process(launched: None) -> Command:
    """Return how to call the command in a process of its own."""

    def start(*words: str, cwd: Path, **env: str) -> Said:
        made = subprocess.run(
            [sys.executable, "-m", "collab", *words],
            cwd=cwd,
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Said(made.returncode, made.stdout, made.stderr)

    return start


@contextmanager
def until_ctrl_c(*words: str, cwd: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Run a command that serves, hand out its first line, and end it as its user does."""
    with subprocess.Popen(
        [sys.executable, "-m", "collab", *words],
        cwd=cwd,
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        try:
            assert served.stdout is not None
            yield served.stdout.readline()
            served.send_signal(signal.SIGINT)
            assert served.wait() == 0
        finally:
            served.kill()  # nothing, where it has ended as it should


@dataclass(frozen=True)
class Finished:
    """A small run that has ended, on the shipped models."""

    words: Sequence[str]
    runs: Path
    said: Said

    @property
    def folder(self) -> Path:
        """The run's folder."""
        (manifest,) = self.runs.glob("small/*/manifest.json")
        return manifest.parent


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, launched: None) -> Finished:
    """Play recoverability on three questions."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    words = (*SMALL, "name=small", f"runs={runs}")
    return Finished(words, runs, call("run", *words))


@dataclass(frozen=True)
class Bench:
    """A scripted server, and the settings that put its model into the main seat."""

    server: ScriptedServer
    url: str
    words: Sequence[str]


@pytest.fixture
def scripted(
    tmp_path: Path, letters: Tokenizer, spoken: Callable[[Tokenizer], WordTokenizer]
) -> Callable[..., object]:
    """Return how to serve a script for a while, as a bench."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    letters.raw.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)

    @contextmanager
    def serving(
        script: Script = "",
        failures: Sequence[Failure] = (),
        traits: Sequence[Trait] = (),
        api: Api = "vllm",
    ) -> Iterator[Bench]:
        server = ScriptedServer(
            script, api=api, traits=traits, failures=failures, tokenizer=spoken(letters)
        )
        with serve(server) as url:
            yield Bench(server, url, seat(url, folder))

    return serving


def seat(url: str, folder: Path) -> list[str]:
    """Return the settings that put the model of a server into the main seat."""
    return [
        "model@team.main=vllm",
        "team.main.id=scripted",
        f"team.main.checkpoint={folder}",
        f"team.main.base_url={url}",
    ]


@dataclass(frozen=True)
class Kept:
    """A run's folder that was written by hand: two episodes on one question, both judged right."""

    folder: Path

    @property
    def scores(self) -> bytes:
        """The run's own verdicts, as they stand."""
        return (self.folder / "scores.jsonl").read_bytes()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Write a run of which one answer stands in a box, and the other one does not."""
    runs = tmp_path / "runs"
    built = composed(["scenario=collaboration", "team=pair", "policy=alternate", f"runs={runs}"])
    path = runs / "run" / "collaboration-alternate-0123456789ab"
    asked = Question("three", (Message("user", "What is 1 + 2?"),), "3")
    decides = {"scenario": built.config.scenario, "policy": built.config.policy}
    with RunFolder.enter(
        path, decides, {"command": "collab run"}, built.config.for_manifest()
    ) as folder:
        folder.ask([asked])
        folder.write_status(RunStatus("Collaboration · main", "level", cases=2))
        for number, answer in enumerate((r"So \boxed{3}.", "So the answer is 3.")):
            units = [
                Wrote(Unit("main" if n % 2 else "partner", f"Step {n}. ", "generated"))
                for n in range(4)
            ]
            said = Wrote(Unit("main", answer, "generated", phase="answer"))
            log: list[Event] = [*units, Ended("main"), Closed("main"), said]
            case = Case(f"three/{number}", asked, built.policy, design=Design(arm="together"))
            episode = Episode(case.id, Trajectory.replay(log), "answered")
            folder.add(episode, case, Score(case.id, asked.id, "correct", case.design))
    return Kept(path)
