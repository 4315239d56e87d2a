"""Render Hugging Face chat templates in Jinja's sandbox, set up as in transformers.

`render` renders in this process. Run as a program, this file renders for another process until its
stdin ends (see `collab.templates.renderer`). So it imports only Jinja and the standard library.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if not TYPE_CHECKING and __name__ == "__main__":
    sys.path += sys.argv[3:]  # the folder of Jinja

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NoReturn

    from jinja2.parser import Parser

MAX_RENDERED = 4 * 1024 * 1024
"""The longest prompt that a template may render (characters)."""
MAX_REASON = 500
"""The longest reason for a refusal (characters)."""
COMPILED = 64
"""The number of compiled templates in the cache."""
PINNED_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""The date that templates get as today's, because a prompt must not change overnight."""
READY, TEXT, REFUSED, FULL = b"o", b"t", b"r", b"m"
"""The first byte of a message: ready for requests; a text follows; the reason for a refusal
follows; out of memory."""


class Refused(Exception):
    """A template did not render. The message is one line that continues "the chat template …"."""


def render(source: str, context: Mapping[str, Any]) -> str:  # any: JSON
    """Render a template, which is compiled once.

    Raises:
        Refused: The template is not valid, refuses its messages, or writes too much.
        MemoryError: The template needs more memory than this process has.
    """
    try:
        template = _compiled(source)
    except MemoryError:
        raise
    except Exception as error:  # Python compiles Jinja's output, which may fail in many ways
        raise Refused(f"is not valid Jinja: {_line(error)}") from error
    try:
        return _join(template.generate(context))
    except MemoryError:
        raise
    except Exception as error:  # templates call methods of strings and lists: any error may occur
        raise Refused(f"refused the messages: {_line(error)}") from error


def _line(error: Exception) -> str:
    """Return an error's message as one line of bounded length."""
    reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
    return " ".join(reason[: 4 * MAX_REASON].split())[:MAX_REASON] or type(error).__name__


class _GenerationBlock(Extension):
    """The `{% generation %}` tag, which marks text for training; rendering keeps its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the body of the block in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox that refuses long repetitions and powers before they are computed."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply; refuse powers and long repetitions (`Any`: as declared)."""
        if operator == "*" and _repeated(left, right) <= MAX_RENDERED:
            return left * right
        raise jinja2.exceptions.SecurityError(f"a chat template may not compute {operator!r} here")


def _repeated(left: Any, right: Any) -> int:
    """Return the length of a product, or 0 if it is a number (`Any`: a template's values)."""
    if isinstance(left, int):
        left, right = right, left
    return len(left) * right if isinstance(right, int) and hasattr(left, "__len__") else 0


@lru_cache(COMPILED)
def _compiled(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@lru_cache(1)
def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = PINNED_DAY.strftime
    return environment


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,  # any: a template's values
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Dump a value to JSON as transformers does, without escaping for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _join(pieces: Iterator[str]) -> str:
    parts: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_RENDERED:
            raise ValueError(f"it wrote more than {MAX_RENDERED:,} characters")
        parts.append(piece)
    return "".join(parts)


def serve(seconds: float, memory: int) -> NoReturn:
    """Render for the process at the other end of stdin, a socket, until that closes it.

    A request is two messages, the template and its context in JSON; a reply is one message. The
    length precedes each message, as in `multiprocessing.connection`.

    Args:
        seconds: CPU time of a request, after which the kernel ends this process.
        memory: Address space of this process, in addition to its start (bytes; Linux only).
    """
    _cap(memory)
    _send(READY)
    while True:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        _send(_reply(_receive(), _receive()))


def _cap(memory: int) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    caps = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NPROC: 0}
    if sys.platform == "linux":
        caps[resource.RLIMIT_AS] = _mapped() + memory
    for limit, cap in caps.items():
        _, allowed = resource.getrlimit(limit)
        cap = cap if allowed == resource.RLIM_INFINITY else min(cap, allowed)
        resource.setrlimit(limit, (cap, cap))


def _mapped() -> int:
    """Return the address space of this process (bytes), or 0 if the system does not report it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _reply(source: bytes, context: bytes) -> bytes:
    try:
        text = render(source.decode("utf-8", "surrogatepass"), json.loads(context))
        return TEXT + text.encode("utf-8", "surrogatepass")
    except Refused as error:
        return REFUSED + str(error).encode("utf-8", "replace")
    except MemoryError:
        return FULL


def _receive() -> bytes:
    return _read(int.from_bytes(_read(4)))


def _read(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += os.read(0, size - len(data)) or sys.exit()
    return bytes(data)


def _send(data: bytes) -> None:
    left = memoryview(len(data).to_bytes(4) + data)
    while left:
        left = left[os.write(0, left) :]


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]))
