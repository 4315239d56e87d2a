"""Sweeps whose jobs run in processes of their own share what they sample; a stop costs nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from collab.core.release import extra
from collab.endpoints.scripted import ScriptedServer
from collab.runs.run_folder import RunFolder

Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
SCRIPT = {
    f"{name}?": [
        f"It asks {name}.\n\nHm, {name}. Is it so? It is. I am sure.\n</think>\\boxed{{{answer}}}",
        f"So {name} it is.\n\nLet me see. Yes. I am sure. It is so.\n</think>\\boxed{{{answer}}}",
    ]
    for name, answer in (("one", "A"), ("two", "B"), ("three", "C"))
}
POINTS = "scenario.points=[0.0],[0.2],[0.4],[0.6],[0.8]"
LENGTHS = "scenario.length=0.2,0.4"
KEPT = "scenario.keep_first_paragraph=false,true"
PARALLEL = "hydra/launcher=processes"


def words(bench: Any, tmp_path: Path, *more: str) -> list[str]:
    """Return a sweep over recoverability on three scripted questions, judged in a moment."""
    questions = tmp_path / "questions.jsonl"
    options = {"options": ["x", "y", "z"]}
    rows = ({"question": name, "answer": text[0][-2], **options} for name, text in SCRIPT.items())
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fixed = ["twin=recoverability_small", "scenario.samples=2", "budget=400", "name=swept"]
    asked = ["questions=jsonl", f"questions.path={questions}", "questions.grader=choice"]
    seat = [*bench.words, "team.main.revision=v1", "concurrency=4"]
    return ["run", "-m", *fixed, *asked, *seat, *more]


def start(cwd: Path, *command: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, so that a signal reaches all that belongs to it."""
    cwd.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "collab", *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(cwd: Path, *command: str) -> tuple[int, str, str]:
    """Run a command to its end."""
    with start(cwd, *command) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def heard(server: ScriptedServer, requests: int) -> None:
    """Wait for so many requests; what a busy machine takes for them is no matter."""
    while len(server.generating) < requests:
        with suppress(TimeoutError):
            asyncio.run(server.until(lambda server: len(server.generating) >= requests))


def sampled(server: ScriptedServer) -> Counter[tuple[Any, ...]]:
    """Count how often each draw was asked of the server, and forget it."""
    draws = Counter(
        (tuple(request.body["prompt"]), request.body["seed"] + choice)
        for request in server.generating
        for choice in range(request.body.get("n") or 1)
        if request.body["max_tokens"] > 1  # the check of the prompt draws nothing
    )
    server.requests.clear()
    return draws


def scores(cwd: Path) -> dict[str, Any]:
    folders = sorted(path.parent for path in cwd.glob("runs/swept/*/manifest.json"))
    return {folder.name: RunFolder(folder).scores() for folder in folders}


def table_of(out: str) -> list[str]:
    """Return the sweep's table: its title, its head and its rows."""
    lines = out.splitlines()
    (first,) = (n for n, line in enumerate(lines) if line.startswith("Recoverability · Distr"))
    return lines[first : first + 4]


def test_jobs_side_by_side_sample_what_they_share_once_and_end_in_one_table(
    scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(SCRIPT) as bench:
        cells = ["scenario.points=[0.0],[0.4],[0.8]", "scenario.length=0.4", "scenario.controls=[]"]
        command = words(bench, tmp_path, *cells, PARALLEL)
        status, out, err = ended(tmp_path / "swept", *command)
        assert set(sampled(bench.server).values()) == {1}, "each draw once, whoever needs it"
    assert status == 1
    assert "insertion point 0.8 + steer length 0.4 is more than 1" in err
    assert "Traceback" not in err
    assert sum(line.startswith("done: ") for line in out.splitlines()) == 2
    assert {line[:2] for line in out.splitlines()} >= {"#0", "#1", "#2"}
    _, heads, *rows = table_of(out)
    assert heads.startswith("points  n  steered")
    assert [row.split()[0] for row in rows] == ["0", "0.4"]
    assert "From openings of its own correct thinking, scripted goes on to solve" not in out


@pytest.mark.skipif(bool(find_spec("ray")), reason="Ray is installed")
def test_a_launcher_that_is_not_installed_says_what_to_install(command: Any) -> None:
    said = command("run", "-m", "hydra/launcher=ray", "replicate=0,1")
    assert said.error == f"error: this launcher is not installed: {extra('ray')}"


def test_a_launcher_that_cannot_start_says_why_in_a_line(command: Any) -> None:
    said = command("run", "-m", PARALLEL, "hydra.launcher.n_jobs=all", "replicate=0,1")
    assert said.error == (
        "error: the launcher does not start: n_jobs could not be converted to int; "
        "change its settings, hydra.launcher.…"
    )


@pytest.mark.long
def test_a_policy_in_a_folder_of_ones_own_is_found_by_jobs_elsewhere(
    scripted: Scripted, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    (mine / "policy").mkdir(parents=True)
    (mine / "own_solo.py").write_text(
        "from collab.policies.solo import Solo\n\n\nclass Own(Solo):\n    pass\n"
    )
    (mine / "policy" / "own_solo.yaml").write_text("_target_: own_solo.Own\nmain: main\n")
    with scripted(SCRIPT) as bench:
        command = [*words(bench, tmp_path)[:2], "-cd", str(mine), "policy=own_solo", "team=solo"]
        more = ["scenario=collaboration", "~scenario.against", "scenario.alone=null"]
        more += ["replicate=0,1", "budget=400", "name=swept"]
        questions = ["questions=jsonl", f"questions.path={tmp_path / 'questions.jsonl'}"]
        status, out, err = ended(
            tmp_path / "runs", *command, *more, *questions, *bench.words, PARALLEL
        )
    assert status == 0, err
    assert out.count("done: 3 episodes") == 2


@pytest.mark.long
def test_interrupted_the_same_command_ends_as_if_nothing_had_happened(
    scripted: Scripted, tmp_path: Path
) -> None:
    swept = ["scenario.points=[0.0],[0.4]"]
    with scripted(SCRIPT) as bench:
        command = words(bench, tmp_path, *swept)
        assert ended(tmp_path / "alone", *command)[0] == 0
        alone = sampled(bench.server)
        with start(tmp_path / "cut", *command, PARALLEL) as process:
            heard(bench.server, 5)
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate()
        assert process.returncode == 130
        # loky's tracker of resources may say something of its own behind it
        assert "\ninterrupted: what was sampled is stored" in f"\n{err}"
        before = sampled(bench.server)
        status, _, err = ended(tmp_path / "cut", *command, PARALLEL)
        assert status == 0, err
        after = sampled(bench.server)
    assert before | after == alone
    assert set((before & after).values()) <= {1}, "only what was in flight is asked for again"
    assert scores(tmp_path / "cut") == scores(tmp_path / "alone")


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["processes", "slurm_here", "ray"])
def test_the_18_valid_cells_sample_the_tokens_of_their_union_exactly_once(
    scripted: Scripted, tmp_path: Path, launcher: str
) -> None:
    if launcher == "ray":
        pytest.importorskip("ray")
    with scripted(SCRIPT) as bench:
        command = words(bench, tmp_path, POINTS, LENGTHS, KEPT)
        for where, how in (("alone", []), ("parallel", [f"hydra/launcher={launcher}"])):
            status, out, err = ended(tmp_path / where, *command, *how)
            refused = 1 if how == ["hydra/launcher=slurm_here"] else 2  # the other's is in its file
            assert (status, err.count(" is more than 1, so the opening")) == (1, refused), err
            draws = sampled(bench.server)
            assert set(draws.values()) == {1}
            if where == "alone":
                union = draws
    assert draws == union, "the union's draws, each exactly once"
    assert len(table_of(out)) == 2 + 18
    assert len(scores(tmp_path / "alone")) == 18
    assert scores(tmp_path / "parallel") == scores(tmp_path / "alone")
