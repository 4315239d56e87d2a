"""The processes below another one, as /proc tells (Linux only)."""

from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Return a process and all that it or they have started."""
    return {pid}.union(*map(descendants, children(pid)))


def children(pid: int) -> set[int]:
    """Return the processes that a process has started."""
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
        return {int(child) for of in threads for child in (of / "children").read_text().split()}
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return set()
