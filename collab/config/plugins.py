"""The three doors for what others write: an installed package, `-cd DIR`, and COLLAB_CONF.

Each adds a folder of YAML to Hydra's search path; a folder is also put at the end of `sys.path`, so
that `DIR/policy/mine.yaml` with `_target_: mine.Mine` finds `DIR/mine.py`. An option that carries
the name of another one would silently win or lose, so it is an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from collab.errors import ConfigError

_folders: list[Path] = []
_packages: list[str] = []


class CollabSearchPath(SearchPathPlugin):
    """Adds the folders and packages that were opened to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them behind our own conf."""
        for folder in _folders:
            search_path.append("collab", f"file://{folder}")
        for package in _packages:
            search_path.append("collab", f"pkg://{package}")


def open_doors(config_dirs: Iterable[str] = ()) -> None:
    """Find every outside conf folder and put it on the paths.

    Args:
        config_dirs: The folders that the command line names.

    Raises:
        ConfigError: A folder is not there, a package cannot be imported, or a name is taken.
    """
    _folders.clear()
    _packages.clear()
    owners: dict[Path, str] = {}
    named = [*config_dirs, *filter(None, os.environ.get("COLLAB_CONF", "").split(os.pathsep))]
    for name in named:
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"the conf folder {name!r} is not there")
        _refuse_taken_names(folder, str(folder), owners)
        _folders.append(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    for point in entry_points(group="collab.conf"):
        try:
            package = files(point.value)
        except Exception as error:  # a stranger's package may raise anything while it is imported
            raise ConfigError(f"plugin {point.name!r} cannot be imported: {error}") from None
        _refuse_taken_names(Path(str(package)), point.value, owners)
        _packages.append(point.value)
    Plugins.instance().register(CollabSearchPath)


def _refuse_taken_names(folder: Path, where: str, owners: dict[Path, str]) -> None:
    """Note whose a folder's options are; `owners` maps those of the folders before it."""
    ours = Path(str(files("collab.conf")))
    for option in () if folder == ours else options_of(folder):
        _check_text(folder / option)
        owner = "collab" if (ours / option).exists() else owners.setdefault(option, where)
        if owner != where:
            raise ConfigError(
                f"{where} brings {option}, which {owner} has too; "
                "give it a name of your own, such as mylab_…"
            )


def _check_text(file: Path) -> None:
    try:
        file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the conf file {str(file)!r} cannot be read: {error}") from None


def options_of(folder: Path) -> Iterator[Path]:
    """Yield the options of a conf folder: its YAML files one level down or deeper."""
    for file in sorted(folder.glob("*/**/*.yaml")):
        yield file.relative_to(folder)
