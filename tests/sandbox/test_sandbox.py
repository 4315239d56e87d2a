import asyncio
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import pytest

import collab
from collab.errors import SandboxError
from collab.sandbox import (
    ProgramLimits,
    ProgramResult,
    Sandbox,
    bubblewrap,
    child,
    processes,
    seccomp,
)
from collab.sandbox.bubblewrap import Bubblewrap
from collab.sandbox.interpreter import package
from collab.sandbox.unsafe import UnsafeSubprocess

has_bwrap = pytest.mark.usefixtures("bwrap")
tells_waits = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the kernel has no /proc/*/schedstat"
)
USER = 54321
"""A user without files, rights or a name."""
SMALL = ProgramLimits(seconds=1, wall=8, processes=3, memory=3 * 2**27, disk=2**20, output=2**16)
LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def told(result):
    return os.strerror(ctypes.get_errno()) if result == -1 else "it worked"
"""

HOSTILE = {
    "fork bomb": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "endless loop": "while True: pass",
    "endless loop that will not be told": """
import signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True: pass
""",
    "endless output": "while True: print('x' * 1000)",
    "endless complaints": "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    "memory hog": "kept = []\nwhile True: kept.append(bytearray(2**20))",
    "memory hogs": """
import os
ends = os.pipe()
while True:
    try:
        child = os.fork()
    except OSError:
        break
    if not child:
        break
kept = []
try:
    while True:
        kept.append(bytearray(2**20))
except MemoryError:
    os.write(ends[1], bytes([len(kept)]))
if child == 0:
    os._exit(0)
os.close(ends[1])
total = 0
while piece := os.read(ends[0], 1):
    total += piece[0]
print(total * 2**20)
""",
    "memory outside": LIBC
    + """
print(told(libc.memfd_create(b"x", 0)))
print(told(libc.shmget(0, 2**20, 0o1600)))
print(told(libc.msgget(0, 0o1600)))
""",
    "disk hog": "open('hog', 'wb').write(bytes(2**21))",
    "disk hogs": "for n in range(9): open(f'hog{n}', 'wb').write(bytes(2**18))",
    "higher limits": """
import resource
for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):
    try:
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("it worked")
    except ValueError as error:
        print(error)
""",
    "reading": """
import os
for path in ("/etc/shadow", "/etc/passwd", "/proc/1/environ", "/proc/self/environ", "/root/.ssh"):
    try:
        open(path).read()
        print("it worked", path)
    except OSError as error:
        print(error.strerror)
print(sorted(os.environ))
""",
    "writing": """
import os, sys
for folder in ("/", "/root", "/home", os.path.dirname(os.__file__), "/packages", "/dev"):
    try:
        open(os.path.join(folder, "mark"), "w")
        print("it worked", folder)
    except OSError as error:
        print(error.strerror)
""",
    "network": """
import socket
for address in (("127.0.0.1", PORT), ("1.1.1.1", 53)):
    try:
        socket.create_connection(address, timeout=1)
        print("it worked")
    except OSError as error:
        print(error.strerror)
try:
    unix = socket.socket(socket.AF_UNIX)
    unix.connect("\\0collab-PORT")
    print("it worked")
except OSError as error:
    print(error.strerror)
""",
    "killing the parent": """
import os
for pid in (os.getppid(), -1):
    try:
        os.kill(pid, 9)
        print("asked")
    except OSError as error:
        print(error.strerror)
""",
    "tracing the parent": LIBC
    + """
import struct
print(told(libc.ptrace(16, os.getppid(), None, None)))
print(told(libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0)))
""",
    "new namespaces": LIBC
    + """
print(told(libc.unshare(0x10000000)))
print(told(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)))
print(told(libc.setns(0, 0)))
""",
    "daemon": """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print("I stay")
time.sleep(600)
""",
    "crash": "import ctypes; ctypes.string_at(0)",
    "becoming root": """
import os
for become in (os.setuid, os.setgid, lambda id: os.setgroups([id])):
    try:
        become(0)
        print("it worked")
    except OSError as error:
        print(error.strerror)
""",
}


RUN_ALL = """
import asyncio, json, sys
from dataclasses import asdict
from collab.sandbox import ProgramLimits
from collab.sandbox.bubblewrap import Bubblewrap

async def run_all(programs, limits):
    sandbox = Bubblewrap(4)
    runs = (sandbox.run(text, "", (), limits) for text in programs.values())
    return dict(zip(programs, map(asdict, await asyncio.gather(*runs))))

told = json.load(sys.stdin)
print(json.dumps(asyncio.run(run_all(told["programs"], ProgramLimits(**told["limits"])))))
"""


@pytest.fixture(scope="module", params=["root", "user"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, ProgramResult]:
    """Run the hostile programs as root and as a user, and return the results."""
    if request.param == "root" and os.getuid():
        pytest.skip("we are not root")
    other = request.param == "user" and not os.getuid()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as unix,
        TemporaryDirectory() as folder,
    ):
        port = str(server.getsockname()[1])
        unix.bind(f"\0collab-{port}")
        unix.listen()
        programs = {name: text.replace("PORT", port) for name, text in HOSTILE.items()}
        done = subprocess.run(
            _as_user(Path(folder)) if other else [sys.executable, "-c", RUN_ALL],
            input=json.dumps({"programs": programs, "limits": SMALL.model_dump()}),
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": folder, "SECRET": "yes"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert not done.returncode, done.stderr
    return {name: ProgramResult(**told) for name, told in json.loads(done.stdout).items()}


def _as_user(folder: Path) -> list[str]:
    """Return the command for an ordinary user, with its files where everyone may read them."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = shutil.which(version, path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("there is no Python of this version that every user may run")
    for top in (Path(collab.__file__).parent, *package("pydantic")):
        copy = shutil.copytree if top.is_dir() else shutil.copy
        copy(top, folder / top.name)
    folder.chmod(0o755)
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return [*become, python, "-B", "-c", RUN_ALL]


DENIED = "Operation not permitted\n"
READ_ONLY = ("Read-only file system\n", "No such file or directory\n", "Permission denied\n")


KILLED = (128 + 9, None)
LATE = (None, "time")


@has_bwrap
@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("fork bomb", {LATE}),
        ("endless loop", {LATE}),
        ("endless loop that will not be told", {KILLED, LATE}),  # whichever clock is first
        ("endless output", {(None, "output")}),
        ("endless complaints", {(None, "output")}),
        ("crash", {(128 + 11, None)}),
    ],
)
def test_programs_without_end_are_ended(
    outcomes: dict[str, ProgramResult], name: str, ends: set[tuple[int | None, str | None]]
) -> None:
    assert (outcomes[name].code, outcomes[name].stopped) in ends
    assert len(outcomes[name].stdout) <= SMALL.output >= len(outcomes[name].stderr)


@has_bwrap
@pytest.mark.parametrize(
    ("name", "error"),
    [("memory hog", "MemoryError"), ("disk hog", "OSError"), ("disk hogs", "OSError")],
)
def test_programs_that_want_too_much_are_refused_it(
    outcomes: dict[str, ProgramResult], name: str, error: str
) -> None:
    assert outcomes[name].code == 1
    assert error in outcomes[name].stderr


@has_bwrap
def test_the_memory_of_all_processes_together_is_capped(outcomes: dict[str, ProgramResult]) -> None:
    taken = int(outcomes["memory hogs"].stdout)
    assert SMALL.memory / 2 < taken <= SMALL.memory


@has_bwrap
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("memory outside", DENIED * 3),
        ("higher limits", "not allowed to raise maximum limit\n" * 3),
        ("new namespaces", DENIED * 3),
        ("tracing the parent", DENIED * 2),
        ("network", "Connection refused\nNetwork is unreachable\nConnection refused\n"),
    ],
)
def test_ways_out_are_closed(outcomes: dict[str, ProgramResult], name: str, told: str) -> None:
    assert (outcomes[name].code, outcomes[name].stdout) == (0, told)


@has_bwrap
def test_nobody_becomes_root(outcomes: dict[str, ProgramResult]) -> None:
    told = outcomes["becoming root"].stdout.splitlines()
    assert len(told) == 3
    assert "it worked" not in told


@has_bwrap
def test_programs_cannot_read_what_is_ours(outcomes: dict[str, ProgramResult]) -> None:
    *files, environment = outcomes["reading"].stdout.splitlines()
    assert files == ["No such file or directory"] * 5
    assert "SECRET" not in environment


@has_bwrap
def test_programs_can_write_in_their_scratch_folder_alone(
    outcomes: dict[str, ProgramResult],
) -> None:
    told = outcomes["writing"].stdout.splitlines(keepends=True)
    assert len(told) == 6
    assert set(told) <= set(READ_ONLY)


@has_bwrap
def test_killing_whatever_it_can_ends_the_program_alone(outcomes: dict[str, ProgramResult]) -> None:
    assert "worked" not in outcomes["killing the parent"].stdout
    assert outcomes["daemon"].code == 0  # and the readers saw the end of its output: it is gone


@has_bwrap
async def test_a_program_reads_its_input_and_imports_what_is_named() -> None:
    text = "import sys, numpy, site\nprint(sys.stdin.read(), numpy.arange(4).sum(), sys.argv)"
    outcome = await Bubblewrap().run(text, "three: é", ["numpy"])
    assert outcome == replace(outcome, code=0, stdout="three: é 6 ['program.py']\n", stderr="")


@has_bwrap
async def test_a_package_that_is_not_named_is_not_there() -> None:
    text = "import os\nprint(os.path.exists('/packages'))\nimport numpy"
    outcome = await Bubblewrap().run(text)
    assert (outcome.code, outcome.stdout) == (1, "False\n")
    assert "No module named 'numpy'" in outcome.stderr


@has_bwrap
async def test_an_error_is_shown_as_if_the_program_ran_by_itself() -> None:
    outcome = await Bubblewrap().run("def f():\n    return 1 / 0\n\n\nf()")
    assert outcome.stderr.splitlines()[:3] == [
        "Traceback (most recent call last):",
        '  File "program.py", line 5, in <module>',
        "    f()",
    ]


@has_bwrap
async def test_programs_run_side_by_side_with_as_many_at_once_as_asked() -> None:
    sandbox = Bubblewrap(3)
    text = "import time\nprint(time.monotonic())\ntime.sleep(0.2)\nprint(time.monotonic())"
    outcomes = await asyncio.gather(*(sandbox.run(text) for _ in range(6)))
    spans = [tuple(map(float, outcome.stdout.split())) for outcome in outcomes]
    at_once = [sum(a <= start < b for a, b in spans) for start, _ in spans]
    assert max(at_once) <= 3


@has_bwrap
async def test_output_up_to_the_limit_is_kept() -> None:
    sandbox, text = Bubblewrap(), "import sys\nsys.stdout.write('12345')"
    whole = await sandbox.run(text, limits=ProgramLimits(output=5))
    cut = await sandbox.run(text, limits=ProgramLimits(output=4))
    assert (whole.stdout, whole.stopped) == ("12345", None)
    assert (cut.stdout, cut.stopped) == ("1234", "output")


@has_bwrap
async def test_a_caller_who_leaves_ends_the_program() -> None:
    sandbox = Bubblewrap()
    await sandbox.prove()
    before = _children()
    task = asyncio.create_task(sandbox.run("import time\nwhile True: time.sleep(1)"))
    while _children() == before:  # noqa: ASYNC110 - nobody tells us of it
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _children() == before


def _children() -> set[str]:
    """Return the ids of this process's children."""
    stats = [stat.read_text().rpartition(") ") for stat in Path("/proc").glob("[0-9]*/stat")]
    return {stat[0].split()[0] for stat in stats if stat[2].split()[1] == str(os.getpid())}


@has_bwrap
async def test_a_sandbox_that_cannot_start_is_no_wrong_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "STARTUP", 0.001)
    with pytest.raises(SandboxError, match=r"started no program within 0\.001 s"):
        await Bubblewrap().run("print(1)")


FAILING = """#!/bin/sh
echo . >> TRIES
if [ $(wc -l < TRIES) -lt COUNT ]; then
    echo "bwrap: no namespace just now" >&2
    exit 1
fi
exec BWRAP "$@"
"""
"""A bubblewrap that makes a sandbox at its nth call alone."""


@has_bwrap
@pytest.mark.parametrize(("count", "tries"), [(3, 4), (9, 3)])
async def test_a_sandbox_that_ends_before_it_begins_is_made_again_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, tries: int
) -> None:
    told, bwrap = tmp_path / "tries", tmp_path / "bwrap"
    text = FAILING.replace("TRIES", str(told)).replace("COUNT", str(count))
    bwrap.write_text(text.replace("BWRAP", str(shutil.which("bwrap"))))
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bubblewrap, "PAUSE", 0.0)
    sandbox = Bubblewrap()
    if tries > bubblewrap.TRIES:
        assert (await sandbox.run("print(1)")).stdout == "1\n"
    else:
        with pytest.raises(SandboxError, match="started no program: bwrap: no namespace just now"):
            await sandbox.run("print(1)")
    assert len(told.read_text().splitlines()) == tries


@has_bwrap
async def test_a_program_that_sleeps_is_stopped() -> None:
    outcome = await Bubblewrap().run("import time; time.sleep(99)", limits=ProgramLimits(wall=0.1))
    assert outcome.stopped == "time"


@has_bwrap
async def test_a_sandbox_that_does_not_hold_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "PROBE", bubblewrap.PROBE.replace("64", "1"))
    with pytest.raises(SandboxError, match=r"does not hold here: a program found {'processes': 2}"):
        await Bubblewrap().run("print(1)")


async def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        await Bubblewrap().run("print(1)")


async def test_a_package_must_be_installed() -> None:
    with pytest.raises(SandboxError, match="package 'nosuch' is not installed; pip install nosuch"):
        await UnsafeSubprocess().run("print(1)", packages=["nosuch"])


def test_a_package_comes_with_what_it_requires() -> None:
    assert {"sympy", "mpmath"} <= {top.name for top in package("sympy")}


@pytest.mark.parametrize("machine", sorted(seccomp.REFUSED))
def test_the_filter_is_a_list_of_instructions_that_ends_by_allowing(machine: str) -> None:
    steps = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    assert steps[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)
    assert all(n + 1 + max(yes, no) < len(steps) for n, (_, yes, no, _) in enumerate(steps[:-1]))


def test_a_machine_whose_system_calls_are_unknown_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"no sandbox on a 'vax' machine \(known: aarch64"):
        seccomp.program("vax")


async def test_a_plain_process_is_limited_in_time_and_output_but_has_our_rights() -> None:
    plain = UnsafeSubprocess(2)
    endless, chatty, reading = await asyncio.gather(
        plain.run("while True: pass", limits=ProgramLimits(seconds=1)),
        plain.run("while True: print('x' * 1000)", limits=SMALL),
        plain.run("import os, numpy\nprint(os.path.exists('/etc/passwd'))", packages=["numpy"]),
    )
    assert (endless.stopped, chatty.stopped) == ("time", "output")
    assert (reading.code, reading.stdout) == (0, "True\n")


SLEEPERS = {
    "sleeps": "import time; time.sleep(600)",
    "sleeps in between": "import time\nwhile True:\n    time.sleep(0.05); sum(range(9999))",
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "forks and sleeps": "import os, time\nos.fork(); os.fork()\ntime.sleep(600)",
    "forks and computes": "import os\nos.fork(); os.fork()\nwhile True: pass",
    "waits for a child": "import os, time\nif os.fork(): os.wait()\ntime.sleep(600)",
}


@pytest.fixture(params=[UnsafeSubprocess, Bubblewrap], ids=["plain", "bwrap"])
def box(request: pytest.FixtureRequest) -> Sandbox:
    """Return a sandbox of each kind."""
    if request.param is Bubblewrap:
        request.getfixturevalue("bwrap")
    sandbox: Sandbox = request.param(9)
    return sandbox


@tells_waits
async def test_what_sleeps_or_starts_others_ends_near_its_cpu_time(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ProgramLimits(seconds=30).held == 39.5
    monkeypatch.setattr(ProgramLimits, "held", property(lambda self: 0.5))
    limits = ProgramLimits(seconds=60, wall=200, processes=6, memory=6 * 2**27)
    outcomes = await asyncio.gather(*(box.run(text, limits=limits) for text in SLEEPERS.values()))
    assert {outcome.stopped for outcome in outcomes} == {"time"}
    assert max(outcome.seconds for outcome in outcomes) < limits.wall


@tells_waits
def test_time_spent_waiting_for_a_processor_is_not_used() -> None:
    spin = (
        "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\n"
        "os.nice(int(sys.argv[2]))\nwhile True: pass"
    )
    core = str(min(os.sched_getaffinity(0)))
    began = time.monotonic()
    with (
        subprocess.Popen([sys.executable, "-Sc", spin, core, "0"]) as greedy,
        subprocess.Popen([sys.executable, "-Sc", spin, core, "19"]) as starved,
    ):
        while (waited := processes._waited(starved.pid)) < 0.3:
            pass
        elapsed = time.monotonic() - began
        used = processes.used(starved.pid, elapsed)
        greedy.kill()
        starved.kill()
    assert waited <= elapsed
    assert used <= elapsed - 0.3


def test_a_process_that_is_gone_used_nothing() -> None:
    assert processes.used(2**22 + 1, 100.0) == 0.0


LEAVERS = {
    "a child": "subprocess.Popen(['sleep', '600'])",
    "a child without output": "subprocess.Popen(['sleep', '600'], **quiet)",
    "a child in a session of its own": "subprocess.Popen(['sleep', '600'], start_new_session=True)",
    "a grandchild": "subprocess.Popen(['sh', '-c', 'sleep 600 & sleep 600'], process_group=0)",
    "a child of a child that ended": "os.fork() or (os.setsid(), os.fork() or time.sleep(600))",
}


@pytest.mark.parametrize("name", LEAVERS)
async def test_what_a_plain_process_leaves_behind_ends_with_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = token_hex()  # its own: whatever bears it is ended, in the other workers' tests too
    monkeypatch.setattr("collab.sandbox.unsafe.token_hex", lambda: mark)
    text = (
        "import os, subprocess, time\nn = subprocess.DEVNULL\nquiet = {'stdout': n, 'stderr': n}\n"
    )
    outcome = await UnsafeSubprocess().run(text + LEAVERS[name])
    assert (outcome.code, outcome.stopped, outcome.stderr) == (0, None, "")
    assert _marked(mark.encode()) == []


def _marked(mark: bytes) -> list[str]:
    """Return the processes with a mark in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            found += [file.parent.name] if mark in file.read_bytes() else []
    return found


async def test_nobody_waits_for_the_output_of_what_cannot_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "LEAVE", 0.1)
    text = (
        "import subprocess\nprint(subprocess.Popen(['sleep', '600'], process_group=0, env={}).pid)"
    )
    outcome = await UnsafeSubprocess().run(text)
    os.kill(int(outcome.stdout), signal.SIGKILL)
    assert (outcome.code, outcome.stopped) == (0, None)
