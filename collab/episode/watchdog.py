"""End code of a policy that blocks the event loop.

An endless `await` ends by a time-out. A loop that awaits nothing blocks time-outs and all other
episodes, so a thread watches it and raises an error in its code. Code inside one call of a C
function is ended when that call returns.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")


class Stuck(BaseException):
    """Raised in code that has blocked the loop for too long; `except Exception` misses it.

    The caller that awaits a `Watched` turns it into an error.
    """


class Watched(Awaitable[ResultT], Generic[ResultT]):
    """An awaitable each of whose steps may take at most `patience` seconds."""

    def __init__(self, work: Awaitable[ResultT], patience: float) -> None:
        self._work, self._patience = work, patience

    def __await__(self) -> Generator[Any, Any, ResultT]:  # any: what the loop and futures exchange
        """Run the work step by step."""
        work = self._work.__await__()
        value: Any = None  # any: likewise
        error: BaseException | None = None
        while True:
            step = _WATCHDOG.begin(self._patience)
            try:
                waits = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                result: ResultT = end.value
                return result
            finally:
                while not step.over:
                    try:
                        _WATCHDOG.end(step)
                    except Stuck:
                        continue  # it came too late for the code it was meant for
            try:
                value, error = (yield waits), None
            except BaseException as thrown:
                value, error = None, thrown


@dataclass(eq=False)
class _Step:
    """One step in progress."""

    thread: int
    patience: float
    deadline: float
    barked: bool = False
    over: bool = False


class _Watchdog:
    """A thread that watches all steps; it sleeps while none is overdue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # an error that is raised while it is held leaves it free
        self._changed = threading.Condition(self._lock)
        self._steps: set[_Step] = set()
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, patience: float) -> _Step:
        step = _Step(threading.get_ident(), patience, time.monotonic() + patience)
        with self._changed:
            self._steps.add(step)
            if self._thread is None or not self._thread.is_alive():  # it does not outlive a fork
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            elif step.deadline < self._wakes:
                self._changed.notify()
        return step

    def end(self, step: _Step) -> None:
        """End a step. Raise the error that was sent to the step's code and came too late.

        Withdrawing the error instead would make CPython 3.11 look for it at every call. Under a
        tracer (a debugger, coverage) it would never continue.
        """
        with self._lock:
            self._steps.discard(step)
            step.over = True
        if step.barked:
            _raise(step.thread)  # in place of what is on its way, or again
            while True:
                pass

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for step in self._steps:
                    if step.deadline <= now:
                        self._bark(step, now)
                self._wakes = min((step.deadline for step in self._steps), default=math.inf)
                self._changed.wait(None if self._wakes == math.inf else self._wakes - now)

    def _bark(self, step: _Step, now: float) -> None:
        """Raise in the step's code; again, if the code caught it."""
        step.barked, step.deadline = True, now + step.patience
        _raise(step.thread)


def _raise(thread: int) -> None:
    """Raise `Stuck` in a thread, at its next call or backward jump."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Stuck))


_WATCHDOG = _Watchdog()
