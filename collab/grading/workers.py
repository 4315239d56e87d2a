"""Processes that run one function, a call at a time, and can be killed while they do.

A call is limited by the CPU time of its own process, so a busy machine changes no result. A process
that dies takes its own call with it and no other.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from collab.errors import GradingError
from collab.grading.zygote import zygote

STARTS = 5
"""How often a process that does not start is tried."""
PAUSE = 0.1
"""The first pause before another try (seconds); each later one is twice as long."""
PATIENCE = 600.0
"""Wall-clock seconds that a process may take to start: a busy machine is slow, not broken."""
ResultT = TypeVar("ResultT")
log = logging.getLogger(__name__)


class WorkerStopped(Exception):
    """A call was stopped before its end."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The limits of one call."""

    seconds: float
    """CPU time."""
    wall: float
    """Wall-clock time, for calls that wait without computing."""
    memory: int
    """Address space of its process, in bytes (Linux only)."""


class Workers(Generic[ResultT]):
    """Runs calls of one function in several processes; each is started when it is needed.

    Args:
        count: The number of processes.
        function: A module's function, with picklable arguments.
        caps: The limits of a call.
        preload: Modules to import before the first call.
    """

    def __init__(
        self, count: int, function: Callable[..., ResultT], caps: WorkerLimits, preload: list[str]
    ) -> None:
        self._function, self._caps = function, caps
        self._preload = preload
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="grading")
        self._own = threading.local()
        self._all: set[_Worker] = set()
        self._closed = False
        self._lock = threading.Lock()  # a process that is started is in `_all`, or none is any more

    async def call(self, *args: object) -> ResultT:
        """Run the function.

        Raises:
            WorkerStopped: The call reached a limit, or killed its process twice.
            GradingError: No process can be started.
            Exception: The function raised it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, args)

    async def close(self) -> None:
        """End all processes at once."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.kill()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def _call(self, args: tuple[object, ...]) -> ResultT:
        """Run the function in this thread's process."""
        for _ in range(2):
            worker: _Worker = self._worker()
            try:
                returned, value = worker.ask(args, self._caps.wall)
            except _Died as death:
                self._drop(worker)
                log.info("a grading process ended: %s", death)
                if death.limit:
                    raise WorkerStopped(str(death)) from None
            else:
                if returned:
                    result: ResultT = value
                    return result
                raise value
        raise WorkerStopped("it ended its process twice")

    def _worker(self) -> _Worker:
        worker: _Worker | None = getattr(self._own, "worker", None)
        for nth in range(STARTS):
            if worker is not None:
                return worker
            if nth:
                time.sleep(PAUSE * 2 ** (nth - 1))
            worker = self._started()
        if worker is None:
            raise GradingError(
                f"the grading processes ended {STARTS} times while they started; see stderr for why"
            )
        return worker

    def _started(self) -> _Worker | None:
        with self._lock:
            if self._closed:
                raise WorkerStopped("its workers are closed")
            try:
                worker = _Worker(self._preload, self._function, self._caps)
            except (EOFError, OSError) as error:  # the forking process has ended
                log.warning("a grading process did not start: %r", error)
                return None
            self._all.add(worker)
        try:
            worker.ready()
        except _Died as death:
            log.warning("a grading process did not start: %s", death)
            self._drop(worker)
            return None
        self._own.worker = worker
        return worker

    def _drop(self, worker: _Worker) -> None:
        self._own.worker = None
        with self._lock:
            self._all.discard(worker)


class _Died(Exception):
    """A process ended; `limit` says that it was for one of its call's limits."""

    def __init__(self, why: str, limit: bool) -> None:
        super().__init__(why)
        self.limit = limit


class _Worker:
    """One process and the pipe to it."""

    def __init__(
        self, preload: list[str], function: Callable[..., object], caps: WorkerLimits
    ) -> None:
        self._zygote = zygote(preload)
        self._pipe, self._pid = self._zygote.fork(_serve, function, caps)
        self._ending = threading.Lock()  # its id is used once: then it may be another's
        self._ended = False
        self._code: int | None = None

    def ready(self) -> None:
        """Wait until it has started."""
        self._heard(PATIENCE)

    def ask(self, args: tuple[object, ...], wall: float) -> tuple[bool, Any]:  # any: as `_heard`
        """Return whether the function returned, and its result or exception."""
        with suppress(OSError):  # it is dead: that is noticed when it does not answer
            self._pipe.send(args)
        return self._heard(wall)

    def kill(self) -> int | None:
        """End it; return its exit code where that is known."""
        with self._ending:
            if not self._ended:
                self._code, self._ended = self._zygote.end(self._pid), True
            return self._code

    def _heard(self, wall: float) -> tuple[bool, Any]:  # any: the result or the exception
        late = False
        try:
            if self._pipe.poll(wall):
                heard: tuple[bool, Any] = self._pipe.recv()  # any: likewise
                return heard
            late = True
        except (EOFError, OSError):
            pass
        code = self.kill()
        self._pipe.close()
        if late:
            raise _Died(f"it took more than {wall:g} s", limit=True)
        raise _Died(f"exit code {code}", limit=code == -signal.SIGPROF)


def _serve(
    pipe: Connection, function: Callable[..., object], caps: WorkerLimits
) -> None:  # pragma: no cover, coverage does not reach other processes
    """Answer calls until the pipe is closed; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # a Python handler could not interrupt it
    if sys.platform == "linux":
        import resource

        _, allowed = resource.getrlimit(resource.RLIMIT_AS)
        cap = caps.memory if allowed == resource.RLIM_INFINITY else min(caps.memory, allowed)
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send((True, None))
        while True:
            args = pipe.recv()
            signal.setitimer(signal.ITIMER_PROF, caps.seconds)
            try:
                answer = True, function(*args)
            except Exception as error:  # it is raised where the call was made
                answer = False, error
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send(answer)
