"""One line for each error that a user can fix."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collab.errors import CollabError

if TYPE_CHECKING:
    from yaml import MarkedYAMLError

FIXES = {
    errno.EADDRINUSE: "choose another --port",
    errno.EADDRNOTAVAIL: "choose another --host",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of your quota",
    errno.EMFILE: "allow more open files: ulimit -n 4096",
}


def error_line(error: BaseException) -> str | None:
    """Describe an error that the user can fix in one line; None for a bug.

    Notes that were added to the error (`add_note`) follow the message.
    """
    error = first_error(error)
    message = _message(error)
    return None if message is None else "; ".join([message, *getattr(error, "__notes__", ())])


def first_error(error: BaseException) -> BaseException:
    """Return the first error inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def collab_errors() -> Iterator[None]:
    """Raise every error that the user can fix as a `CollabError` with its one-line message.

    Raises:
        CollabError: Such an error was raised inside.
    """
    try:
        yield
    except CollabError:
        raise
    except Exception as error:
        first, line = first_error(error), error_line(error)
        if line is None:
            raise
        raise first if isinstance(first, CollabError) else CollabError(line) from error


def _message(error: BaseException) -> str | None:
    match error:
        case CollabError():
            return str(error)
        case OSError():
            return _describe_os_error(error)
        case UnicodeError():
            return f"a text has the wrong encoding: {error}"
        case json.JSONDecodeError():
            return f"a file is not JSON: {error}"
        case MemoryError():
            return "there is not enough memory"
        case RecursionError():
            return "a file or a setting is nested too deeply"
    if type(error).__module__.startswith("yaml."):
        return _describe_yaml_error(error)
    return None


def _describe_yaml_error(error: object) -> str:
    """Name the file, the line and the problem."""
    marked: MarkedYAMLError | None = error if hasattr(error, "problem_mark") else None  # type: ignore[assignment]  # PyYAML is slow to import
    if marked is None or marked.problem_mark is None:
        return f"a file is no YAML: {' '.join(str(error).split())}"
    mark = marked.problem_mark
    return f"{mark.name}, line {mark.line + 1}: this is no YAML: {marked.problem}"


def _describe_os_error(error: OSError) -> str:
    """Name the file, what the system refused, and the fix."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.ENOENT and not error.filename:
        return "the working directory no longer exists; change to another one"
    where = f"{error.filename!r}: " if error.filename else ""
    fix = FIXES.get(error.errno or 0)
    return f"{where}{reason}" + (f"; {fix}" if fix else "")
