"""One event loop in a background thread, so that synchronous calls work inside any other loop."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Coroutine
from contextvars import copy_context
from threading import Event, Lock, Thread, current_thread
from typing import Any, TypeVar

from collab.core.blocking import run_apart

ResultT = TypeVar("ResultT")
_Work = Coroutine[Any, Any, ResultT]  # any: of no use here


def run_sync(work: _Work[ResultT]) -> ResultT:
    """Run a coroutine in the background loop and return its result.

    Works in a script, in a notebook and inside a running event loop, which waits meanwhile. Ctrl-C
    cancels the coroutine and waits for its cleanup before it returns.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the coroutine has ended.
    """
    background = _background()
    if current_thread() is background.thread:  # waiting for its own loop would never end
        return run_apart(work)
    return background.run(work)


async def run_in_background(work: _Work[ResultT]) -> ResultT:
    """Await a coroutine that runs in the background loop, from any other loop.

    Cancelling the caller cancels the coroutine.
    """
    loop = _background().loop
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class _Background:
    """A loop that runs in a thread of its own until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self._serve, name="collab", daemon=True)
        self.thread.start()

    def run(self, work: _Work[ResultT]) -> ResultT:
        """Run a coroutine from another thread."""
        tasks: list[asyncio.Task[ResultT]] = []
        ended, context = Event(), copy_context()

        def start() -> None:
            tasks.append(self.loop.create_task(work, context=context))
            tasks[0].add_done_callback(lambda task: ended.set())

        def stop() -> None:
            if tasks:
                tasks[0].cancel()
            else:  # the interruption came before the start
                work.close()
                ended.set()

        try:
            self.loop.call_soon_threadsafe(start)
            ended.wait()
        except BaseException:
            self.loop.call_soon_threadsafe(stop)
            ended.wait()
            raise
        return tasks[0].result()

    def close(self) -> None:
        """Cancel what still runs, let it clean up, and end the thread."""
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.get_loop().run_forever()


_started: list[_Background] = []
_starting = Lock()


def _background() -> _Background:
    """Return the background loop; the first call starts it."""
    with _starting:
        if not _started:
            _started.append(_Background())
            atexit.register(_started[0].close)
        return _started[0]


os.register_at_fork(after_in_child=_started.clear)  # a child process has no such thread
