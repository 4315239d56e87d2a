"""Find conf folders of users: in installed packages, by `-cd DIR`, and in COLLAB_CONF.

Each adds a folder of YAML to Hydra's search path. A folder is also appended to `sys.path`, so that
`DIR/policy/mine.yaml` with `_target_: mine.Mine` finds `DIR/mine.py`. Two options of one name are
an error, because one would silently hide the other.
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
    """Adds the opened folders and packages to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders and packages after collab's own conf."""
        for folder in _folders:
            search_path.append("collab", f"file://{folder}")
        for package in _packages:
            search_path.append("collab", f"pkg://{package}")


def open_conf_folders(config_dirs: Iterable[str] = ()) -> None:
    """Add every outside conf folder to the search paths.

    Args:
        config_dirs: The folders that the command line names.

    Raises:
        ConfigError: A folder does not exist, a package cannot be imported, or two options share a
            name.
    """
    _folders.clear()
    _packages.clear()
    owners: dict[Path, str] = {}
    named = [*config_dirs, *filter(None, os.environ.get("COLLAB_CONF", "").split(os.pathsep))]
    for name in named:
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"the conf folder {name!r} does not exist")
        _refuse_taken_names(folder, str(folder), owners)
        _folders.append(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    for point in entry_points(group="collab.conf"):
        try:
            package = files(point.value)
        except Exception as error:  # importing a user's package may raise anything
            raise ConfigError(f"plugin {point.name!r} cannot be imported: {error}") from None
        _refuse_taken_names(Path(str(package)), point.value, owners)
        _packages.append(point.value)
    Plugins.instance().register(CollabSearchPath)


def _refuse_taken_names(folder: Path, where: str, owners: dict[Path, str]) -> None:
    """Record the owner of each option of a folder; `owners` holds those of earlier folders."""
    ours = Path(str(files("collab.conf")))
    for option in () if folder == ours else options_of(folder):
        _check_text(folder / option)
        owner = "collab" if (ours / option).exists() else owners.setdefault(option, where)
        if owner != where:
            raise ConfigError(
                f"{where} has an option {option}, and so has {owner}; "
                "give yours another name, such as mylab_…"
            )


def _check_text(file: Path) -> None:
    try:
        file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the conf file {str(file)!r} cannot be read: {error}") from None


def options_of(folder: Path) -> Iterator[Path]:
    """Yield the options of a conf folder: the YAML files in its subfolders."""
    for file in sorted(folder.glob("*/**/*.yaml")):
        yield file.relative_to(folder)
