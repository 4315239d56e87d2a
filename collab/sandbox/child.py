"""A program as a child process: write its input, read its output, and end it at its limits."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Literal

from collab.errors import SandboxError
from collab.sandbox import ProgramLimits, ProgramResult, processes
from collab.sandbox.inside import READY

STARTUP = 60.0
"""How long a sandbox may take to start its program (seconds)."""
LEAVE = 2.0
"""How long to wait for the rest of the output once a program has ended (seconds)."""
TICK = 0.2
"""The interval of the checks whether a program has ended or used its time (seconds)."""
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",  # a program that prints a set gets the same verdict each time
    "PYTHONUTF8": "1",
}
"""The whole environment of a program."""


class Unstarted(SandboxError):
    """A sandbox ended before its program started; another attempt may succeed."""


def start(
    python: str,
    source: bytes,
    limits: ProgramLimits,
    *,
    uid: int = 0,
    processes: int = 0,
    paths: Sequence[str] = (),
) -> list[str]:
    """Return the command that reads a program from stdin and starts it."""
    inside = files("collab.sandbox").joinpath("inside.py").read_text("utf-8")
    caps = (uid, limits.seconds, limits.share, processes, limits.disk, len(source))
    return [python, "-sSP", "-c", inside, *map(str, caps), *paths]


async def run(
    command: Sequence[str],
    payload: bytes,
    limits: ProgramLimits,
    *,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    mark: str | None = None,
) -> ProgramResult:
    """Run a command that starts with `inside.py`, until it ends or reaches a limit.

    Args:
        command: The command.
        payload: Its stdin.
        limits: Its limits.
        cwd: Its working folder.
        pass_fds: File descriptors that stay open for it.
        mark: A mark for its environment, by which the processes that it leaves behind are found.

    Raises:
        Unstarted: The command ended before the program started.
        SandboxError: The program did not start in time.
    """
    child = _Child(limits, mark)
    work = asyncio.create_task(child.run(command, payload, cwd, pass_fds))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:  # wait, because a process that is starting cannot be abandoned
        child.stop("time")
        await asyncio.wait([work])
        raise


class _Child:
    def __init__(self, limits: ProgramLimits, mark: str | None) -> None:
        self._limits = limits
        self._mark = mark
        self._process: Process | None = None
        self._stopped: Literal["time", "output"] | None = None
        self._started: float | None = None
        self._timer = self._alarm(STARTUP)

    async def run(
        self, command: Sequence[str], payload: bytes, cwd: str | None, pass_fds: Sequence[int]
    ) -> ProgramResult:
        """Run the process until it has ended and all its output is read."""
        watch = None
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=ENVIRONMENT | ({processes.MARK: self._mark} if self._mark else {}),
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )
            watch = asyncio.create_task(self._watch(process))
            if self._stopped is not None:
                self._kill(process)
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            stdout, stderr, _, code = await asyncio.gather(
                self._read_output(process.stdout),
                self._read(process.stderr),
                _write(process.stdin, payload),
                process.wait(),
            )
        except OSError as error:
            raise Unstarted(f"cannot run {command[0]!r}: {error.strerror}") from error
        finally:
            self._timer.cancel()
            if watch is not None:
                watch.cancel()
                self._clear(process)
        return self._result(stdout, stderr, code if code >= 0 else 128 - code)

    async def _watch(self, process: Process) -> None:
        """Stop a program that has used its time; once it has ended, close its output."""
        due = self._limits.held
        while process.returncode is None:
            await asyncio.sleep(TICK)
            elapsed = time.monotonic() - self._started if self._started is not None else 0.0
            if elapsed > due:
                left = self._limits.held - processes.used(process.pid, elapsed)
                due = elapsed + max(left, TICK)
                if left <= 0:
                    self.stop("time")
        if self._mark is not None:
            self._clear(process)
            await asyncio.sleep(LEAVE)
            process._transport.close()  # type: ignore[attr-defined]  # another process has it open

    def _result(self, stdout: str, stderr: str, code: int) -> ProgramResult:
        if self._started is None:
            reason = stderr.strip() or "(no error message)"
            if self._stopped:
                raise SandboxError(f"the sandbox started no program within {STARTUP:g} s: {reason}")
            raise Unstarted(f"the sandbox started no program: {reason}")
        stopped = "time" if code == 128 + signal.SIGXCPU else self._stopped
        seconds = time.monotonic() - self._started
        return ProgramResult(None if stopped else code, stdout, stderr, stopped, seconds)

    async def _read_output(self, stream: StreamReader) -> str:
        """Read the output after its first byte, which signals that the program starts."""
        if await stream.read(len(READY)) == READY:
            self._started = time.monotonic()
            self._timer.cancel()
            self._timer = self._alarm(self._limits.wall)
        return await self._read(stream)

    async def _read(self, stream: StreamReader) -> str:
        """Read output up to the limit, and stop the program if there is more."""
        limit, kept = self._limits.output, bytearray()
        while piece := await stream.read(2**16):
            kept += piece[: limit + 1 - len(kept)]
            if len(kept) > limit:
                self.stop("output")
        return kept[:limit].decode(errors="replace")

    def _alarm(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self.stop, "time")

    def stop(self, why: Literal["time", "output"]) -> None:
        """End the process now, or as soon as it has started."""
        self._stopped = self._stopped or why
        if self._process is not None:
            self._kill(self._process)

    def _kill(self, process: Process) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        self._clear(process)

    def _clear(self, process: Process) -> None:
        """End the processes that it left behind, if it runs without a sandbox."""
        if self._mark is None:
            return
        processes.end(self._mark)
        with suppress(ProcessLookupError, PermissionError):  # for systems that show no marks
            os.killpg(process.pid, signal.SIGKILL)


async def _write(stream: StreamWriter, payload: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # a program need not read
        stream.write(payload)
        await stream.drain()
    stream.close()
    with suppress(BrokenPipeError, ConnectionResetError):
        await stream.wait_closed()
