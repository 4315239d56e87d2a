"""The sandbox: bubblewrap runs each program in namespaces of its own.

A program gets no network, a fixed environment, its own process ids, and a file system with only the
interpreter, the named packages and a small scratch folder. It has no rights: if root starts it, it
runs as a user id that nothing else uses. The limits of processes and memory are the kernel's limits
per process, which need no cgroup. They also bound the total, because the kernel counts processes
per sandbox. A filter refuses the system calls that evade them. All this is checked once, before the
first program; if the check fails, no program is run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from collab.errors import SandboxError
from collab.sandbox import ProgramLimits, ProgramResult, child, seccomp
from collab.sandbox.interpreter import interpreter, package

TRIES = 3
"""The number of attempts to start a sandbox."""
PAUSE = 0.2
"""Seconds before the second attempt; the pause doubles each time."""
PACKAGES = "/packages"
SCRATCH = "/tmp"
PROBE = '''
import json, os, socket

def how_many():
    """Start processes until no more are allowed, then end them."""
    started = []
    try:
        while len(started) < 64:
            child = os.fork()
            if not child:
                os.read(0, 1)
                os._exit(0)
            started.append(child)
    except OSError:
        pass
    for child in started:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return 1 + len(started)

def is_free(size):
    try:
        return bool(bytearray(size))
    except MemoryError:
        return False

print(json.dumps({
    "processes": how_many(),
    "memory": is_free(SHARE),
    "root": os.getuid() == 0,
    "network": [name for _, name in socket.if_nameindex()],
    "files": sorted(os.listdir("/")),
    "environment": sorted(os.environ),
}))
'''

log = logging.getLogger(__name__)


class Bubblewrap:
    """Runs programs in sandboxes, at most `workers` at a time."""

    def __init__(self, workers: int | None = None) -> None:
        """Set the number of sandboxes that may run at once; by default one per core."""
        self._free = asyncio.Semaphore(workers or os.cpu_count() or 1)
        self._proof: asyncio.Task[None] | None = None

    async def run(
        self,
        program: str,
        stdin: str = "",
        packages: Sequence[str] = (),
        limits: ProgramLimits = ProgramLimits(),  # noqa: B008 - a frozen value
    ) -> ProgramResult:
        """Run a program in a sandbox of its own.

        Raises:
            SandboxError: Bubblewrap is not installed, or its sandbox does not hold on this machine.
        """
        await self.prove()
        async with self._free:
            return await _tried(program, stdin, packages, limits)

    async def prove(self) -> None:
        """Check once that the limits hold on this machine.

        Raises:
            SandboxError: They do not hold, or no sandbox can be started.
        """
        if self._proof is None or (self._proof.done() and self._proof.exception()):
            self._proof = asyncio.create_task(_prove())
        await asyncio.shield(self._proof)


async def _prove() -> None:
    limits = ProgramLimits(seconds=10, wall=60, processes=3, memory=3 * 2**27)
    outcome = await _tried(PROBE.replace("SHARE", str(limits.share)), "", (), limits)
    try:
        found = json.loads(outcome.stdout)
    except json.JSONDecodeError:
        raise SandboxError(f"the sandbox's limits cannot be checked: {outcome}") from None
    expected = {
        "processes": limits.processes,
        "memory": False,
        "root": False,
        "network": ["lo"],
        "environment": sorted([*child.ENVIRONMENT, "PWD"]),
    }
    broken = {key: found[key] for key, value in expected.items() if found[key] != value}
    if broken:
        raise SandboxError(
            f"the sandbox does not hold here: a program found {broken} instead of "
            f"{ {key: expected[key] for key in broken} }; it needs Linux 5.14 or newer"
        )


async def _tried(
    program: str, stdin: str, packages: Sequence[str], limits: ProgramLimits
) -> ProgramResult:
    """Run a program, in a new sandbox if the first one ended before the program started."""
    for nth in range(TRIES - 1):
        try:
            return await _run(program, stdin, packages, limits)
        except child.Unstarted as error:
            log.info("retrying: %s", error)
            await asyncio.sleep(PAUSE * 2**nth)
    return await _run(program, stdin, packages, limits)


async def _run(
    program: str, stdin: str, packages: Sequence[str], limits: ProgramLimits
) -> ProgramResult:
    bwrap = _program()
    source, root = program.encode(errors="replace"), os.getuid() == 0
    python, mounts = await asyncio.to_thread(_files, tuple(packages))
    start = child.start(
        python,
        source,
        limits,
        uid=_unused_uid() if root else 0,
        processes=limits.processes + (not root),  # a user's count includes bubblewrap itself
        paths=[PACKAGES] if packages else [],
    )
    with _filter() as fd:
        isolation = _isolation(bwrap, root, limits, fd)
        payload = source + stdin.encode(errors="replace")
        return await child.run([*isolation, *mounts, *start], payload, limits, pass_fds=[fd])


def _program() -> str:
    """Return the path of bubblewrap.

    Raises:
        SandboxError: Bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("bubblewrap is not installed (no 'bwrap'): apt-get install bubblewrap")
    return bwrap


def _isolation(bwrap: str, root: bool, limits: ProgramLimits, fd: int) -> Iterator[str]:
    """Yield bubblewrap's command with all options except the files and the program."""
    yield from (bwrap, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net")
    yield from ("--unshare-ipc", "--unshare-uts", "--hostname", "sandbox", "--seccomp", str(fd))
    yield from ("--cap-drop", "ALL")
    if root:  # `inside.py` uses these two to change its user, and thereby loses them
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield "--unshare-user"
    yield from ("--perms", "1777", "--size", str(limits.disk), "--tmpfs", SCRATCH)
    yield from ("--dir", "/dev", "--dev-bind", "/dev/null", "/dev/null", "--chdir", SCRATCH)


@cache
def _files(packages: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the interpreter's path, and the options that mount it and the packages read-only."""
    ours = interpreter()
    shown = {str(path): str(path) for path in ours.files}
    shown |= {f"{PACKAGES}/{top.name}": str(top) for name in packages for top in package(name)}
    above = {str(parent) for inside in shown for parent in Path(inside).parents} - {"/"}
    options: list[str] = []
    for folder in sorted(above):  # if bubblewrap made them itself, only root could enter
        options += ["--dir", folder]
    for inside, path in shown.items():
        options += ["--ro-bind", path, inside]
    for hidden in map(str, ours.hidden):
        options += ["--size", "4096", "--tmpfs", hidden, "--remount-ro", hidden]
    return str(ours.python), (*options, "--remount-ro", "/", "--")


def _unused_uid() -> int:
    """Return a user id that nothing else uses, because the kernel counts processes by user."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    rows = [list(map(int, line.split())) for line in lines]
    first, _, count = max(rows, key=lambda row: row[2])
    if count < 2**16:
        raise SandboxError(
            f"root has only {count} user ids in this container, but each program needs its own: "
            "give the container 65536 or more"
        )
    return first + count // 2 + secrets.randbelow(count // 2 - 1)


@contextmanager
def _filter() -> Iterator[int]:
    """Open a file in memory that holds the filter of system calls, and yield its descriptor."""
    fd = os.memfd_create("seccomp")
    try:
        os.write(fd, seccomp.program())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
