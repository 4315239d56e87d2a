"""Find the files that a Python program needs: the interpreter, its libraries and packages."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from collab.errors import SandboxError

LIBRARY = re.compile(r"(?:=> |^\s*)(/\S+) \(0x", re.MULTILINE)
"""Matches a line of `ldd`."""
SYSTEM = re.compile(r"/(usr/)?lib(32|64)?(/[\w-]+-linux-\w+)?")
"""Matches a folder of the system's shared libraries."""
NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Interpreter:
    """The interpreter that runs collab, without its installed packages."""

    python: Path
    files: tuple[Path, ...]
    """The files and folders that it needs, including `python`."""
    hidden: tuple[Path, ...]
    """Folders of installed packages inside `files`, which are hidden from programs."""


@cache
def interpreter() -> Interpreter:
    """Find the files of the interpreter.

    Raises:
        SandboxError: Its shared libraries cannot be listed.
    """
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    where = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    where |= {"platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}
    library = {Path(sysconfig.get_path(name, vars=where)) for name in ("stdlib", "platstdlib")}
    library = {folder for folder in library if folder.is_dir()}
    return Interpreter(
        python=python,
        files=(python, *sorted(library), *sorted(_libraries(python))),
        hidden=tuple(
            hidden
            for folder in sorted(library)
            for name in ("site-packages", "dist-packages")
            if (hidden := folder / name).is_dir()
        ),
    )


def _libraries(binary: Path) -> set[Path]:
    """Return the shared libraries of a binary, with the whole folder for those of the system.

    The system's folders also hold the libraries of the standard library's extension modules.
    """
    try:
        done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SandboxError(
            f"cannot list the shared libraries of {str(binary)!r}: {error}"
        ) from None
    found = {Path(path) for path in LIBRARY.findall(done.stdout)}
    return {path.parent if SYSTEM.fullmatch(str(path.parent)) else path for path in found}


@cache
def package(name: str) -> tuple[Path, ...]:
    """Return the top-level files and folders of a distribution and of its requirements.

    Raises:
        SandboxError: The distribution is not installed.
    """
    todo, done, found = [name], set[str](), set[Path]()
    while todo:
        current = todo.pop()
        try:
            distribution = metadata.distribution(current)
        except metadata.PackageNotFoundError:
            if current == name:
                raise SandboxError(
                    f"package {name!r} is not installed; pip install {name}"
                ) from None
            continue  # a requirement for another system or another Python
        found.update(_tops(distribution))
        done.add(current)
        todo += [need for need in _needs(distribution) if need not in done]
    return tuple(sorted(found))


def _tops(distribution: metadata.Distribution) -> Iterator[Path]:
    root = Path(str(distribution.locate_file("")))
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        yield root / top


def _needs(distribution: metadata.Distribution) -> Iterator[str]:
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement and (found := NAME.match(requirement)):
            yield found[0].lower()
