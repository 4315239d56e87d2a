"""Find a finished case of a run by a part of its id."""

from __future__ import annotations

from collab.errors import RunError
from collab.runs.run_folder import RunFolder


def check_finished(folder: RunFolder) -> None:
    """Check that a run has a finished episode.

    Raises:
        RunError: The folder is not a run, or holds no episode yet; the message names the error
            that ended its last start.
    """
    _ = folder.manifest
    if folder.finished():
        return
    status = folder.status
    why = f"; its last start ended with: {status.stopped}" if status and status.stopped else ""
    raise RunError(f"{str(folder.path)!r} holds no finished episode yet{why}")


def find_case(folder: RunFolder, wanted: str) -> str:
    """Return the case whose id is `wanted`, or the only one whose id contains it.

    Raises:
        RunError: The run has no finished episode; or no id contains it, or several do, of which
            the message names some.
    """
    check_finished(folder)
    cases = folder.finished()
    near = [case for case in cases if wanted in case]
    if wanted in cases or len(near) == 1:
        return wanted if wanted in cases else near[0]
    some = ", ".join(map(repr, near[:5]))
    why = f"{len(near)} episodes match, such as {some}" if near else "no episode matches"
    raise RunError(f"{wanted!r} does not name one episode of {str(folder.path)!r}: {why}")
