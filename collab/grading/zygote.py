"""A process that imports the modules of its children once, and forks a child on request.

`multiprocessing` would run the caller's main script again in each child, so that a script without a
`__main__` guard could not grade. The zygote is started by a command of its own and imports nothing
from the script. It ends with the process that started it, and then kills all its children.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import NoReturn

ChildMain = Callable[..., None]
"""The function of a child: a module's, called with its pipe and further arguments."""

PR_SET_PDEATHSIG = 1
"""Of `linux/prctl.h`."""

_running: dict[tuple[int, tuple[str, ...]], Zygote] = {}
_choosing = threading.Lock()  # of one process and one list of modules there is one zygote


class Zygote:
    """The zygote, as seen by the process that started it.

    Args:
        modules: The modules to import before the first child.
    """

    def __init__(self, modules: tuple[str, ...]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            path = list(map(os.path.abspath, sys.path))  # '' is the folder as it is now
            code = f"import sys; sys.path[:] = {path!r}; from {__name__} import live; live()"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the process that started it
            )
        self._pipe = Connection(ours.detach())
        self._lock = threading.Lock()  # a request and its reply belong together

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Have it end, with all its children."""
        self._pipe.close()
        self._process.wait()

    def fork(self, body: ChildMain, *args: object) -> tuple[Connection, int]:
        """Start a child; return the pipe to it and its process id.

        Raises:
            EOFError: The zygote has ended.
            OSError: The zygote has ended, or no child can be made.
        """
        ours, theirs = Pipe()
        with self._lock, theirs:
            self._pipe.send(("fork", pickle.dumps((body, args))))
            send_handle(self._pipe, theirs.fileno(), self._process.pid)
            pid: int = self._pipe.recv()
        return ours, pid

    def end(self, pid: int) -> int | None:
        """Kill a child; return its exit code, or None where the zygote has ended, and it too."""
        with self._lock, suppress(EOFError, OSError):
            self._pipe.send(("end", pid))
            code: int = self._pipe.recv()
            return code
        return None


def zygote(modules: list[str]) -> Zygote:
    """Return this process's zygote with some modules; start it if necessary."""
    key = os.getpid(), tuple(modules)
    with _choosing:
        found = _running.get(key)
        if found is None or not found.alive:
            found = _running[key] = Zygote(key[1])
        return found


@atexit.register
def _close() -> None:
    for (owner, _), one in _running.items():
        if owner == os.getpid():
            one.close()


def live() -> NoReturn:  # pragma: no cover, coverage does not reach other processes
    """Fork and kill children on request until the pipe closes; runs in the zygote."""
    number, *modules = sys.argv[1:]
    for module in modules:
        import_module(module)
    pipe = Connection(int(number))
    children: set[int] = set()
    with suppress(EOFError, OSError):
        while True:
            match pipe.recv():
                case "fork", bytes(work):
                    child = _fork(pipe, work)
                    children.add(child)
                    pipe.send(child)
                case "end", int(pid):
                    children.discard(pid)
                    pipe.send(_end(pid))
    for pid in children:
        _end(pid)
    sys.exit()


def _fork(pipe: Connection, work: bytes) -> int:  # pragma: no cover, also in a child
    handle = recv_handle(pipe)
    if pid := os.fork():
        os.close(handle)
        return pid
    code = 1
    try:
        pipe.close()
        _end_with_parent()
        body, args = pickle.loads(work)
        body(Connection(handle), *args)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent() -> None:  # pragma: no cover, also in a child
    """Have the kernel kill this process when its zygote is killed (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(pid: int) -> int:  # pragma: no cover, also in a child
    """Kill a child and return its exit code: it was not waited for before, so its id is its own."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
