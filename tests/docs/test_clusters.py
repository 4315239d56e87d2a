"""What the docs show for more than one machine, on clusters of this one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.runs.run_folder import RunFolder
from tests.cli.test_sweep import SCRIPT, heard, sampled, words
from tests.docs.pages import Step, commands
from tests.docs.reader import CLUSTER, PLACE, Reader
from tests.store.conftest import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
ON_SLURM = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
ON_RAY = ["hydra/launcher=ray", "hydra.launcher.ray.init.address=auto"]
Serve = Callable[..., AbstractContextManager[Any]]  # any: tests/cli's Bench


def shown(piece: str) -> list[str]:
    """Return the commands of the docs with something in them that wants a cluster."""
    return [c for c in commands() if piece in c and (piece != PLACE or "launcher" not in c)]


def run(reader: Reader, piece: str) -> None:
    """Run what the docs show, and see what came of it."""
    (command,) = shown(piece)
    reader.do(Step("command", command))
    assert not reader.faults, "".join(map(str, reader.faults))


def finished(folder: Path) -> list[int]:
    """Return how many episodes each run has."""
    return [len(RunFolder(path.parent).scores()) for path in folder.glob("runs/*/*/manifest.json")]


def test_the_sweep_of_the_docs_runs_on_slurm(
    tmp_path: Path, slurm: Mapping[str, str], postgres: Server
) -> None:
    run(Reader(tmp_path, "", postgres.place(), slurm), "hydra/launcher=slurm ")
    assert len(finished(tmp_path)) == 18
    assert 0 not in finished(tmp_path)


def test_the_sweep_of_the_docs_runs_on_ray(
    tmp_path: Path, ray: Mapping[str, str], postgres: Server
) -> None:
    run(Reader(tmp_path, "", postgres.place(), ray), "hydra/launcher=ray ")
    assert len(finished(tmp_path)) == 18
    assert 0 not in finished(tmp_path)


def test_the_demo_runs_on_a_database_of_postgresql(tmp_path: Path, postgres: Server) -> None:
    run(Reader(tmp_path, "", postgres.place()), PLACE)
    assert not (tmp_path / "runs" / "store.sqlite").exists()


def test_each_command_for_a_cluster_is_run_here() -> None:
    assert [len(shown(piece)) for piece in CLUSTER] == [1, 1, 1]


def swept(cwd: Path, there: Mapping[str, str], *command: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it says."""
    cwd.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "collab", *command],
        cwd=cwd,
        env={**os.environ, **there},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("launcher", ["slurm", "ray"])
def test_jobs_on_a_cluster_sample_what_they_share_once(
    scripted: Serve, tmp_path: Path, launcher: str, request: pytest.FixtureRequest
) -> None:
    there: Mapping[str, str] = request.getfixturevalue(launcher)
    with scripted(SCRIPT) as bench:
        how = ON_SLURM if launcher == "slurm" else ON_RAY
        cells = ["scenario.points=[0.0],[0.4],[0.8]", "scenario.length=0.4"]
        status, said = swept(tmp_path / "swept", there, *words(bench, tmp_path, *cells), *how)
        assert set(sampled(bench.server).values()) == {1}, "each draw once, whoever needs it"
    assert status == 1, "one of the three is refused"
    assert "Traceback" not in said
    assert len(finished(tmp_path / "swept")) == 2


def test_a_job_that_slurm_stops_and_queues_again_goes_on_where_it_was(
    scripted: Serve, tmp_path: Path, slurm: Mapping[str, str]
) -> None:
    folder = tmp_path / "swept"
    folder.mkdir()
    with scripted(SCRIPT) as bench, (tmp_path / "out").open("w") as out:
        command = words(bench, tmp_path, "scenario.points=[0.0],[0.4]", *ON_SLURM)
        with subprocess.Popen(
            [sys.executable, "-m", "collab", *command],
            cwd=folder,
            env={**os.environ, **slurm},
            stdout=out,
            stderr=out,
        ) as process:
            try:
                heard(bench.server, 2)
                while logs(folder).count("\n#") < 2:  # before, nothing in a job hears a warning
                    assert process.poll() is None, (tmp_path / "out").read_text()
                jobs = told(slurm, "squeue", "-h", "-t", "R", "-o", "%A").split()
                told(slurm, "scancel", "--signal=USR2", *jobs)  # SLURM's warning of a stop
                process.wait()
            finally:
                process.send_signal(signal.SIGINT)
    kept = "".join(path.read_text() for path in folder.glob("runs/swept/*/run.log"))
    assert process.returncode == 0, logs(folder) + kept + (tmp_path / "out").read_text()
    assert "Requeued job" in logs(folder)
    assert len(finished(folder)) == 2


def logs(folder: Path) -> str:
    """Return what the jobs of a sweep have printed."""
    return "".join(p.read_text() for p in folder.glob("runs/swept/.submitit/*/*_log.???"))


def told(there: Mapping[str, str], *command: str) -> str:
    """Return what a command of SLURM's says."""
    env = {**os.environ, **there}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_a_ray_that_does_not_start_is_an_error_of_one_line(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray's launcher is not here")
    wrong = ["hydra/launcher=ray", "+hydra.launcher.ray.init.adress=auto", "replicate=0,1"]
    said = swept(tmp_path, {}, "run", "-m", *wrong)
    why = "error: the launcher does not start: Unknown keyword argument(s): adress; "
    assert said == (1, f"{why}change its settings, hydra.launcher.…\n")


def test_a_cluster_that_takes_no_job_is_an_error_of_one_line(
    tmp_path: Path, slurm: Mapping[str, str]
) -> None:
    wrong = ["hydra/launcher=slurm", "hydra.launcher.partition=none", "replicate=0,1"]
    status, said = swept(tmp_path, slurm, "run", "-m", *wrong)
    assert status == 1
    assert "\nerror: the cluster took no job: sbatch: error: invalid partition specified" in said
    assert "Traceback" not in said


def test_folders_of_ones_own_are_found_by_jobs_of_a_ray_cluster(
    tmp_path: Path, ray: Mapping[str, str]
) -> None:
    (tmp_path / "policy").mkdir()
    code = "from collab.policies.solo import Solo\n\n\nclass Own(Solo):\n    pass\n"
    (tmp_path / "own_solo.py").write_text(code)
    (tmp_path / "policy" / "own_solo.yaml").write_text("_target_: own_solo.Own\nmain: main\n")
    what = ["policy=own_solo", "team=solo", "scenario=collaboration", "~scenario.against"]
    small = ["scenario.alone=null", "questions.count=1", "budget=300", "replicate=0,1"]
    status, said = swept(tmp_path, ray, "run", "-m", "-cd", ".", *ON_RAY, *what, *small)
    assert status == 0, said
    assert len(finished(tmp_path)) == 2
