"""What went wrong by a user's doing, in one line."""

from __future__ import annotations

import errno
import json
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
    """Return the line that tells of an error that its user can mend; None: it is no such error.

    What was noted on the error on its way (`add_note`) is told with it.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = _told(error)
    return None if said is None else "; ".join([said, *getattr(error, "__notes__", ())])


def _told(error: BaseException) -> str | None:
    match error:
        case CollabError():
            return str(error)
        case OSError():
            return _system(error)
        case UnicodeError():
            return f"a text is not in the encoding that it should be in: {error}"
        case json.JSONDecodeError():
            return f"a file is no JSON: {error}"
        case MemoryError():
            return "there is not enough memory"
        case RecursionError():
            return "a file or a setting is nested too deeply"
    if type(error).__module__.startswith("yaml."):
        return in_yaml(error)
    return None


def in_yaml(error: object) -> str:
    """Say what is wrong with a YAML file, and where."""
    marked: MarkedYAMLError | None = error if hasattr(error, "problem_mark") else None  # type: ignore[assignment]  # PyYAML is slow to import
    if marked is None or marked.problem_mark is None:
        return f"a file is no YAML: {' '.join(str(error).split())}"
    mark = marked.problem_mark
    return f"{mark.name}, line {mark.line + 1}: this is no YAML: {marked.problem}"


def _system(error: OSError) -> str:
    """Say what the system refused, of which file, and what helps."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.ENOENT and not error.filename:
        return "the working directory is no longer there; change to another one"
    where = f"{error.filename!r}: " if error.filename else ""
    fix = FIXES.get(error.errno or 0)
    return f"{where}{reason}" + (f"; {fix}" if fix else "")
