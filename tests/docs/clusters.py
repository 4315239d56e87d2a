"""Clusters of one machine: SLURM's own daemons, and a Ray head."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import optional

CONF = """\
ClusterName=collab
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
NodeName=localhost CPUs=4 RealMemory=32768 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""One node in one partition, called as in the docs; it says to have what jobs ask for.

A job that is queued again begins when its credentials have expired: not after two minutes.
"""


@contextmanager
def slurm(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run SLURM; yield the variables by which its commands find it.

    Skips the test, by name, where it is not installed, or not started by root.
    """
    daemons = {name: optional.found(name) for name in ("munged", "slurmctld", "slurmd")}
    if os.getuid() != 0:
        pytest.skip("SLURM runs jobs of others: its daemons are started by root alone")
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, ports=_ports(2)))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    there = {"SLURM_CONF": str(conf)}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    socket_of = f"--socket={folder}/munge.socket"
    with ExitStack() as stack:
        for command, wait in (
            (["munged", "--foreground", "--force", socket_of, *munge], f"munge -n {socket_of}"),
            (["slurmctld", "-D"], "scontrol ping | grep -q UP"),
            (["slurmd", "-D", "-N", "localhost"], "sinfo -h -o %T | grep -q idle"),
        ):
            program = [str(daemons[command[0]]), *command[1:]]
            stack.enter_context(_running(program, there, folder, wait))
        yield there


@contextmanager
def ray() -> Iterator[Mapping[str, str]]:
    """Run a Ray head; yield the variables by which `address=auto` finds it.

    Skips the test, by name, where Ray's launcher is not installed.
    """
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray's launcher is not here")
    program = shutil.which("ray", path=str(Path(sys.executable).parent))
    with tempfile.TemporaryDirectory(prefix="ray-") as name:  # its sockets want a short path
        there = {
            "RAY_TMPDIR": name,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(32).hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        (port,) = _ports(1)
        small = ["--num-cpus=2", "--object-store-memory=80000000", "--include-dashboard=false"]
        command = [str(program), "start", "--head", "--block", f"--port={port}", *small]
        with _running(command, there, Path(name), f"{program} status"):
            yield there


@contextmanager
def _running(
    command: list[str], there: Mapping[str, str], folder: Path, wait: str
) -> Iterator[None]:
    """Run a daemon from when it answers to the end of the context, or of this process."""
    tied = ["setpriv", "--pdeathsig", "TERM", *command]
    with (folder / f"{Path(command[0]).name}.out").open("wb") as out:
        process = subprocess.Popen(tied, env=os.environ | there, stdout=out, stderr=out)
    try:
        while subprocess.run(
            wait, shell=True, env=os.environ | there, capture_output=True, check=False
        ).returncode:
            assert process.poll() is None, Path(out.name).read_text()
        yield
    finally:
        process.terminate()
        process.wait()


def _ports(count: int) -> list[int]:
    """Return free ports."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]
