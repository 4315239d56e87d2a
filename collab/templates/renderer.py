"""Render untrusted chat templates in a process of their own, with limits on time and memory.

Jinja's sandbox protects the machine's files, but not its time and memory: loops, macros, filters,
methods of strings and the compiler's constant folding can each use all of them. No list of such
ways is complete, so the kernel sets the limits. A separate process compiles and renders templates,
with limits on its CPU time per text, on its address space and on its reply, so that the load of the
machine does not change a result. A process that reaches a limit is ended. Its template is refused
from then on, unless the messages were so long that they may be the cause. macOS has no limit on the
address space: there, only the time bounds the memory.

The first untrusted template starts the process, which then renders all others. Templates that ship
with collab are recognised by their hashes and rendered in this process. Rendered texts are cached
by template and messages.
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
"""CPU time for one text, including compilation (seconds); usual templates need a thousandth."""
WALL = 30.0
"""Wall-clock time for one text and the start of the process, in case it hangs (seconds)."""
MEMORY = 2**28
"""Address space of the process, in addition to what it starts with (bytes; Linux only)."""
MESSAGES = 2**23
"""The longest messages, including variables, that are sent to the process (characters of JSON)."""
USUAL = 2**16
"""With messages up to this length, reaching a limit is the template's fault (characters)."""
KEPT = 2**22
"""The size of the cache of rendered texts (characters of JSON and text)."""
SHIPPED = frozenset(
    {
        "09f04ebf906e9da615ca506b24b7d05031eea3ad46dd92dcdadac4e2f945bbe2",  # pocket
        "75997e97ddc914a74a9a0ee8576a50cc62f57f92c7c0da669f59d3839f414490",  # scripted
    }
)
"""SHA-256 of the templates that ship with collab, which only loop over the messages."""
ENVIRONMENT = {"TZ": "UTC", "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}
"""The environment of the process, the same everywhere so that texts do not depend on it."""
INHERITED = {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}
"""Variables that the process inherits if they are set: an interpreter may need them to start."""


def render(source: str, context: Mapping[str, Any]) -> str:  # any: JSON
    """Render a template within the limits.

    Raises:
        Refused: The template is not valid, refuses its messages, or reaches a limit.
        OSError: The process cannot be started.
    """
    if not ships(source):
        return _RENDERER.render(source, context)
    try:
        return jinja.render(source, context)
    except MemoryError:
        raise Refused("needs more memory than is available") from None


@lru_cache(64)
def ships(source: str) -> bool:
    """Return whether a template ships with collab."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest() in SHIPPED


class Renderer:
    """Renders untrusted templates in one process; threads may share it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: after a fork, the process belongs to the parent."""
        self._lock = threading.Lock()  # the process handles one request at a time
        self._worker: _Worker | None = None
        self._refused: dict[str, str] = {}
        self._cache = _TextCache()

    def render(self, source: str, context: Mapping[str, Any]) -> str:  # any: JSON
        """Render a template, or return the cached text.

        Raises:
            Refused: The template is not valid, refuses its messages, or reaches a limit, or it has
                reached one before.
            OSError: The process cannot be started.
        """
        encoded = _encode(context)
        with self._lock:
            if (why := self._refused.get(source)) is not None:
                raise Refused(why)
            text = self._cache.get((source, encoded))
            if text is None:
                text = self._ask(source, encoded)
                self._cache.add((source, encoded), text)
            return text

    def close(self) -> None:
        """End the process; the next template starts another one."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _ask(self, source: str, encoded: str) -> str:
        try:
            reply = self._reply(source.encode("utf-8", "surrogatepass"), encoded.encode())
        except _Stopped as stop:
            if len(encoded) <= USUAL:
                self._refused[source] = str(stop)
            raise Refused(str(stop)) from None
        if reply[:1] == REFUSED:
            raise Refused(reply[1:].decode())
        return reply[1:].decode("utf-8", "surrogatepass")

    def _reply(self, source: bytes, context: bytes) -> bytes:
        """Ask the process, or a new one if the first dies without reaching a limit."""
        for _ in range(2):
            try:
                self._worker = self._worker or _Worker()
                reply = self._worker.ask(source, context)
                if reply[:1] == FULL:
                    raise _Stopped(f"needs more than {MEMORY // 2**20} MiB of memory")
                return reply
            except _Died:
                self.close()
            except BaseException:  # a late reply would be taken for that to the next request
                self.close()
                raise
        raise _Stopped("ends the process that renders it")


class _Stopped(Exception):
    """A template reached a limit."""


class _Died(Exception):
    """The process ended without reaching a limit."""


class _Worker:
    """The process that renders, and the socket to it."""

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

    def ask(self, source: bytes, context: bytes) -> bytes:
        """Send a request and return its reply.

        Raises:
            _Stopped: The process took too long.
            _Died: The process ended for another reason.
            OSError: The process did not start.
        """
        if not self._ready:
            self._start()
        try:
            self._pipe.send_bytes(source)
            self._pipe.send_bytes(context)
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
            raise OSError(f"it ended while it started (exit code {self._process.returncode})")

    def end(self) -> None:
        """Kill the process."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


def _command() -> list[str]:
    """Return the command of the process: this interpreter, with only Jinja's packages."""
    found = (find_spec(name) for name in ("jinja2", "markupsafe"))
    paths = {str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin}
    options = ("-sSPB", jinja.__file__, str(SECONDS), str(MEMORY))
    return [sys.executable, *options, *sorted(paths)]


def _encode(context: Mapping[str, Any]) -> str:  # any: JSON
    try:
        encoded = json.dumps(context)
    except RecursionError:
        raise Refused("refused the messages: they are nested too deeply") from None
    if len(encoded) > MESSAGES:
        raise Refused(f"got {len(encoded):,} characters of messages; at most {MESSAGES:,} may be")
    return encoded


class _TextCache:
    """The texts that were used last, up to a total length."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._size = 0

    def get(self, key: tuple[str, str]) -> str | None:
        """Return a text, or None if it is not cached."""
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def add(self, key: tuple[str, str], text: str) -> None:
        """Add a text, and drop the least recently used ones."""
        self._texts[key] = text
        self._size += _length(key, text)
        while self._size > KEPT:
            self._size -= _length(*self._texts.popitem(last=False))


def _length(key: tuple[str, str], text: str) -> int:
    return len(key[1]) + len(text)


_RENDERER = Renderer()
atexit.register(_RENDERER.close)
os.register_at_fork(after_in_child=_RENDERER.forget)
