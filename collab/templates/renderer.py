"""The process that renders the chat templates of strangers.

Jinja's sandbox keeps a template from the machine, not from its time and memory: loops, macros,
filters, methods of strings and the compiler's own folding of constants can each take all of it. No
list of such ways is complete, so the caps are the kernel's. Templates are compiled and rendered in
a process with a cap on its CPU time for each text, on its address space and on its reply; a busy
machine changes no result. A process that reaches a cap is ended, and its template is refused from
then on, unless the messages were so long that they may be to blame. macOS has no cap on the address
space: there, time alone bounds the memory.

The process is started for the first such template and serves all others. Templates that ship with
collab are known by their hashes to end; they are rendered here, and start nothing. What was
rendered is kept by template and messages.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from collab.templates import jinja
from collab.templates.jinja import FULL, MAX_RENDERED, READY, REFUSED, Refused

SECONDS = 1.0
"""CPU time for one text, its template compiled: thousands of times what is usual."""
WALL = 30.0
"""Wall-clock seconds for one text and the start of the process, for what waits or is stopped."""
MEMORY = 2**28
"""Address space of the process, besides what it starts with (bytes; Linux only)."""
MESSAGES = 2**23
"""Longest messages, variables included, that are sent to the process (characters of JSON)."""
USUAL = 2**16
"""With messages up to here, a cap that is reached is the template's own fault (characters)."""
KEPT = 2**22
"""How much is kept of what was rendered (characters of JSON and text)."""
SHIPPED = frozenset(
    {
        "09f04ebf906e9da615ca506b24b7d05031eea3ad46dd92dcdadac4e2f945bbe2",  # pocket
        "75997e97ddc914a74a9a0ee8576a50cc62f57f92c7c0da669f59d3839f414490",  # scripted
    }
)
"""SHA-256 of the templates that ship with collab: loops over the messages and nothing else."""
ENVIRONMENT = {"TZ": "UTC", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}
"""What the process finds in its environment: a text does not depend on where it is rendered."""
INHERITED = {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}
"""What else, where it is set: an interpreter may need it to start."""


def render(source: str, context: Mapping[str, Any]) -> str:  # any: JSON
    """Render a template within the caps.

    Raises:
        Refused: It is not valid, refuses its messages, or reaches a cap.
        OSError: The process cannot be started.
    """
    if not ships(source):
        return _RENDERER.render(source, context)
    try:
        return jinja.render(source, context)
    except MemoryError:
        raise Refused("needs more memory than there is") from None


@lru_cache(64)
def ships(source: str) -> bool:
    """Say whether a template is one of ours."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest() in SHIPPED


class Renderer:
    """Renders anybody's templates in one process; threads may share it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: behind a fork, the process is the parent's."""
        self._lock = threading.Lock()  # the process has one request at a time
        self._worker: _Worker | None = None
        self._refused: dict[str, str] = {}
        self._kept = _Kept()

    def render(self, source: str, context: Mapping[str, Any]) -> str:  # any: JSON
        """Render a template, or recall what it rendered.

        Raises:
            Refused: It is not valid, refuses its messages, or reaches a cap, now or before.
            OSError: The process cannot be started.
        """
        told = _told(context)
        with self._lock:
            if (why := self._refused.get(source)) is not None:
                raise Refused(why)
            text = self._kept.get((source, told))
            if text is None:
                text = self._ask(source, told)
                self._kept.add((source, told), text)
            return text

    def close(self) -> None:
        """End the process; the next template starts another one."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _ask(self, source: str, told: str) -> str:
        try:
            reply = self._reply(source.encode("utf-8", "surrogatepass"), told.encode())
        except _Stopped as stop:
            if len(told) <= USUAL:
                self._refused[source] = str(stop)
            raise Refused(str(stop)) from None
        if reply[:1] == REFUSED:
            raise Refused(reply[1:].decode())
        return reply[1:].decode("utf-8", "surrogatepass")

    def _reply(self, source: bytes, told: bytes) -> bytes:
        """Ask the process, and once more in a new one if it dies without reaching a cap."""
        for _ in range(2):
            try:
                self._worker = self._worker or _Worker()
                reply = self._worker.ask(source, told)
                if reply[:1] == FULL:
                    raise _Stopped(f"needs more than {MEMORY // 2**20} MiB of memory")
                return reply
            except _Died:
                self.close()
            except BaseException:  # a reply that comes late would be taken for the next one
                self.close()
                raise
        raise _Stopped("ends the process that renders it")


class _Stopped(Exception):
    """A template reached a cap."""


class _Died(Exception):
    """The process ended without reaching a cap."""


class _Worker:
    """The process, and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                _command(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT
                | {name: os.environ[name] for name in INHERITED & os.environ.keys()},
                start_new_session=True,  # Ctrl-C is for the parent
            )
            self._pipe = Connection(ours.detach())
        self._ready = False

    def ask(self, source: bytes, told: bytes) -> bytes:
        """Return the reply to a request.

        Raises:
            _Stopped: The process took too long.
            _Died: It ended otherwise.
            OSError: It did not start.
        """
        if not self._ready:
            self._start()
        try:
            self._pipe.send_bytes(source)
            self._pipe.send_bytes(told)
            if self._pipe.poll(WALL):
                return self._pipe.recv_bytes(4 * MAX_RENDERED + 1)
        except (EOFError, OSError):
            self.end()
            if self._process.returncode != -signal.SIGPROF:
                raise _Died from None
            raise _Stopped(f"needs more than {SECONDS:g} s of CPU time") from None
        raise _Stopped(f"needs more than {WALL:g} s")

    def _start(self) -> None:
        try:
            self._ready = self._pipe.poll(WALL) and self._pipe.recv_bytes() == READY
        except (EOFError, OSError):
            self.end()
        if not self._ready:
            raise OSError(f"it ended as it started (exit code {self._process.returncode})")

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


def _command() -> list[str]:
    """Return the command of the process: our interpreter, without the packages but Jinja's."""
    found = (find_spec(name) for name in ("jinja2", "markupsafe"))
    paths = {str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin}
    options = ("-sSPB", jinja.__file__, str(SECONDS), str(MEMORY))
    return [sys.executable, *options, *sorted(paths)]


def _told(context: Mapping[str, Any]) -> str:  # any: JSON
    try:
        told = json.dumps(context)
    except RecursionError:
        raise Refused("refused the messages: they nest too deeply") from None
    if len(told) > MESSAGES:
        raise Refused(f"is given {len(told):,} characters of messages, more than {MESSAGES:,}")
    return told


class _Kept:
    """What was rendered last, up to a total length."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._size = 0

    def get(self, key: tuple[str, str]) -> str | None:
        """Return a text, if it is there."""
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def add(self, key: tuple[str, str], text: str) -> None:
        """Keep a text, in place of those that were not asked for longest."""
        self._texts[key] = text
        self._size += _length(key, text)
        while self._size > KEPT:
            self._size -= _length(*self._texts.popitem(last=False))


def _length(key: tuple[str, str], text: str) -> int:
    return len(key[1]) + len(text)


_RENDERER = Renderer()
atexit.register(_RENDERER.close)
os.register_at_fork(after_in_child=_RENDERER.forget)
