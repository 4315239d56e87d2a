"""Read the files of an untrusted folder: with bounds, and never outside the folder.

A link out of the folder would show or overwrite a file of the user who opens it. A pipe or a device
would block or never end. Both are refused before anything is opened.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import IO

from collab.errors import RunError

log = logging.getLogger(__name__)
SMALL = 2**26
"""The largest file that is read at once (bytes)."""
BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors that a value of an unexpected type or size raises."""


def check_enclosed(folder: Path) -> None:
    """Refuse a folder with a link that leads out of it, a pipe or a device.

    Raises:
        RunError: The folder has one; the message names it.
    """
    root = os.path.realpath(folder)
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _check(os.path.join(above, name), root)


def _check(path: str, root: str) -> None:
    with suppress(FileNotFoundError):  # it has been removed since
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode) and not os.path.realpath(path).startswith(root + os.sep):
            raise RunError(
                f"{path!r} is a link to {os.path.realpath(path)!r}, outside the folder {root!r}; "
                "replace it by a copy, or remove it"
            )
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise RunError(f"{path!r} is a pipe or a device, not a file; remove it")


def opened(path: Path) -> IO[bytes]:
    """Open a regular file for reading, without blocking.

    Raises:
        OSError: The file does not exist, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def created(path: Path) -> IO[str]:
    """Open a new text file for writing, replacing any file of that name.

    The old file is removed first, because it may be a link to another file.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass", newline="")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors caused by a file's content into one error that names the file.

    Readers check what they can. This catches values that still break a computation.

    Raises:
        RunError: A computation failed.
    """
    try:
        yield
    except BROKEN as error:
        log.debug("reading %s", path, exc_info=True)
        raise RunError(
            f"{str(path)!r} holds a value that no run writes ({type(error).__name__}: {error})"
        ) from None


def read_small(path: Path, most: int = SMALL) -> bytes:
    """Read a whole file of limited size.

    Raises:
        OSError: The file does not exist, or is not a regular file.
        ValueError: It is larger than `most` bytes.
    """
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content
