"""Somebody who does what a page says, step by step, in a folder of their own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from collab.pocket.family import problems
from tests.docs.pages import ROOT, Step, steps

GPU = "it starts vLLM, which needs a GPU and a model of the hub"
HUB = "it loads a dataset or a model from the hub"
PLACE = "postgresql://db.example.org/collab"
PAID = "it asks an API that costs money"
NOT_RUN = {
    "vllm serve ": GPU,
    "=vllm_launch ": GPU,
    "=r1_qwen_1_5b ": GPU,
    "=qwen3_32b ": GPU,
    "=vllm@step_100,": GPU,
    "r1_qwen_1_5b,qwen3_1_7b": GPU,
    "questions=aime_2024 ": HUB,
    "questions=maths ": HUB,
    "questions=code ": HUB,
    "questions=math_500": HUB,
    "open-r1/OpenR1-Math-220k ": HUB,
    "model=deepseek": PAID,
    "=openai ": PAID,
    "make test": "it runs the tests: this is one of them",
    "make check-long": "it runs the long tests: this is one of them",
    "python -m collab.pocket.train all ": "it trains four models for an hour and a half",
    "python -m collab.analysis.pocket_cards ": "it measures the models of the command before it",
    "lm_eval ": "it needs lm-eval, and a task of one's own",
    "inspect eval ": "it needs inspect_ai, and a task of one's own",
    "apt-get install ": "it changes the machine",
    "--trust ": "it would send to whatever address a stranger's folder names",
}
"""What no test can run, by a piece of the command, and why not."""
CLUSTER = {
    "hydra/launcher=slurm ": "SLURM",
    "hydra/launcher=ray ": "Ray",
    PLACE: "PostgreSQL",
}
"""What wants more than a machine, by a piece of the command: `test_clusters.py` runs it."""
FAILS = {"policy=gide", "experiment=openings"}
"""Pieces of commands that fail, or of which some jobs do, as their pages say in words."""
SERVES = re.compile(r"collab (serve|pocket|view|launch) ")
MODEL = ROOT / "collab" / "pocket" / "models" / "plain"
VLLM = re.compile(r"model@team\.(\w+)=vllm(?= |$)")
LABELS = "u\n" * 100
"""What is typed into a command that asks."""


def why_not(command: str) -> str | None:
    """Return why a command is not run; None if it is."""
    return next((why for piece, why in NOT_RUN.items() if piece in f"{command} "), None)


@dataclass(frozen=True)
class Fault:
    """A step that did not do what the page says."""

    step: str
    status: int
    out: str

    def __str__(self) -> str:
        return f"\n\n$ {self.step}\n{self.out[-3000:]}\nexit code {self.status}"


@dataclass
class Reader:
    """Runs steps, and notes which of them failed."""

    folder: Path
    """Where they are run."""
    url: str
    """An OpenAI-compatible server that takes the place of a vLLM server with a large model."""
    place: str = ""
    """The URL of a PostgreSQL database, in place of the one in the docs."""
    env: Mapping[str, str] = field(default_factory=dict)
    programs: Path = Path(sys.executable).parent
    """The folder with `collab` and `python`."""
    faults: list[Fault] = field(default_factory=list)
    _python: list[str] = field(default_factory=list)

    def read(self, page: Path) -> None:
        """Do all that a page says."""
        for step in steps(page):
            if not any(piece in step.text for piece in CLUSTER):
                self.do(step)

    def do(self, step: Step) -> None:
        """Do one step."""
        match step.kind:
            case "python":
                self._python.append(step.text)
                self._runs(self._saved(step.text))
            case "session":  # it goes on where the blocks before it ended
                self._runs(self._saved("\n".join([*self._python, self._resolved(step.text)])))
            case "script":
                self._runs(step.text)
            case "command":
                self._does(step.text, refused=step.refused)

    def _saved(self, code: str) -> str:
        name = f"block_{len(list(self.folder.glob('block_*.py')))}.py"
        (self.folder / name).write_text(code, encoding="utf-8")
        return f"python {name}"

    def _does(self, command: str, *, refused: bool) -> None:
        if why_not(command):
            return
        if command.startswith("pip install '.["):
            _check_extras(command)
        elif SERVES.match(command):
            self._serves(re.sub(r"(?<=--port )\d+", str(_free_port()), command))
        elif command.startswith("collab watch"):
            self._watches(self._resolved(command))
        else:
            command = command.replace("make demo", "collab run experiment=demo")
            self._runs(self._resolved(command), refused or any(p in command for p in FAILS))

    def _runs(self, script: str, fails: bool = False) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            input=LABELS if "collab label" in script else "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != int(fails) or "Traceback" in done.stdout:
            self.faults.append(Fault(script, done.returncode, done.stdout))

    @contextmanager
    def _started(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, and end it by Ctrl-C if it has not ended."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self._environment() | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)

    def _serves(self, command: str) -> None:
        with self._started(command) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            said += process.stdout.read()
        if "http://" not in said or process.returncode not in (0, 130):
            self.faults.append(Fault(command, process.returncode, said))

    def _watches(self, command: str) -> None:
        """Look at a run until an episode of it was seen, or it has ended."""
        with self._started("collab run experiment=demo replicate=1") as run:
            last = None
            while run.poll() is None and (last is None or last.returncode):
                last = subprocess.run(
                    command.split(),
                    cwd=self.folder,
                    env=self._environment(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
        if last is None or last.returncode:
            self.faults.append(Fault(command, last.returncode if last else -1, str(last)))

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        ours = {"PATH": path, "BROWSER": "true", "COLUMNS": "200", "MY_KEY": "a-key-of-mine"}
        return {**os.environ, **ours, **self.env}

    def _resolved(self, command: str) -> str:
        """Put in what is there for what a page leaves open, and our servers for those it names."""
        command = re.sub(r"[\w/-]+-…", lambda found: self._folder(found[0]), command)
        if re.search(r"EPISODE|q17/|--verdicts", command):
            command = self._with_names(command)
        for seat in VLLM.findall(command):
            command += f" team.{seat}.base_url={self.url}{_plain(seat)}"
        if "http://127.0.0.1:8000/v1" in command:
            command = command.replace("http://127.0.0.1:8000/v1", self.url)
            command += _plain("main")
        return command.replace(PLACE, f"""'"{self.place}"'""")  # Hydra wants quotes around signs

    def _folder(self, shown: str) -> str:
        found = sorted(self.folder.glob(shown.replace("…", "*")))
        return str(found[0].relative_to(self.folder)) if found else shown

    def _with_names(self, command: str) -> str:
        """Name an episode that is there, and verdicts that were made later."""
        runs = [path.parent for path in sorted(self.folder.glob("r*/**/manifest.json"))]
        named = [run for run in runs if str(run.relative_to(self.folder)) in command] or runs
        with (named[0] / "scores.jsonl").open() as lines:
            case = json.loads(lines.readline())["case"]
        command = command.replace("EPISODE", case).replace("q17/", case)
        verdicts = sorted(path.name for path in named[0].glob("regraded/*"))
        return re.sub(r"(?<=--verdicts )\w+", verdicts[0], command) if verdicts else command


def _plain(seat: str) -> str:
    """Return the settings of a seat that is served by a model in the box under another name."""
    return f" team.{seat}.served=plain team.{seat}.checkpoint={MODEL} team.{seat}.context=1024"


def _check_extras(command: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"\[([\w,]+)\]", command)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys(), command


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def prepare(folder: Path) -> None:
    """Write what pages take for granted: the reader's own files, and the checkout's examples."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    made = problems("easy", 8, 0)
    asked = [
        {
            "question": problem.text,
            "answer": str(problem.answer),
            "options": [str(problem.answer + nth) for nth in range(4)],
        }
        for problem in made
    ]
    traces = [
        {
            "question": problem.text,
            "gold_answer": str(problem.answer),
            "reasoning": f"Let us see. So it is {problem.answer}. I read it again. It is right.",
            "response": f"The answer is \\boxed{{{problem.answer}}}.",
            "meta": {"temperature": 0.6},
            "model": "somebody/a-model",
        }
        for problem in made
        for _ in range(8)
    ]
    for name, rows in (("mine", asked), ("traces", traces)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def receive(reader: Reader) -> None:
    """Make a run that somebody else sent: with a server of theirs in its config."""
    small = "questions.count=4 scenario.originals=2 'scenario.points=[0.4]' budget=400 name=theirs"
    reader.do(
        Step(
            "command",
            f"collab run twin=recoverability {small} model@team.main=vllm team.main.id=a/b",
        )
    )
    assert not reader.faults, reader.faults[0]
    reader.folder.joinpath("runs/theirs").rename(reader.folder / "received")
    for path in reader.folder.glob("received/*/manifest.json"):
        path.write_text(path.read_text().replace(reader.url, "http://10.0.0.7:8000/v1"))


def arbiter(folder: Path, code: str) -> None:
    """Put the classes of the tutorial into a file, as it says in words."""
    (folder / "arbiter.py").write_text(code.partition("\n\n\ncheck_policy(")[0] + "\n")
    (folder / "policy").mkdir()
    settings = "first: main\nsecond: partner\njudge: judge\nhuman: null\n"
    (folder / "policy/mylab_arbiter.yaml").write_text(f"_target_: arbiter.Arbiter\n{settings}")


def environment(folder: Path) -> Path:
    """Make an environment of one's own with collab in it; return the folder of its programs.

    collab and what it requires are those of the environment of the tests.
    """
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    there = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in there]
    (packages / "required.pth").write_text("".join(lines))
    program = folder / "bin" / "collab"
    program.write_text(
        f"#!{folder}/bin/python\nimport sys\nfrom collab.cli import main\n\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return program.parent
