"""Rebuild a run's config from its folder, with some words changed, for verbs that start from a run.

The manifest counts, even if a conf file has changed since. A word such as `policy=guide` replaces a
whole group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from collab.app.mark import why_foreign
from collab.app.overrides import composing, is_ours, key_of, parsed
from collab.app.trust import refusal
from collab.app.wants import Want, as_clause
from collab.config.config import RunConfig, read_config
from collab.config.plugins import open_conf_folders
from collab.core.secret import HIDDEN
from collab.errors import ConfigError, RunError
from collab.runs.run_folder import RunFolder

INTERPOLATION = re.compile(r"(\\*)\$\{")


@dataclass(frozen=True)
class CommandLine:
    """The words of a command line that starts from a run."""

    overrides: Sequence[str]
    """Changes to the config, as for `collab run`."""
    folders: Sequence[str] = ()
    """The user's own conf folders."""
    trust: bool = False
    """Whether the run may start programs, send, and read other files, as its config says."""


def rebuild_config(
    folder: RunFolder,
    words: CommandLine,
    may: Collection[str],
    wants: Callable[[RunConfig], Iterable[Want]],
) -> RunConfig:
    """Return a run's config with some words changed and its paths moved to where the folder is now.

    The manifest is data: no `${…}` in it is resolved. A run from elsewhere may do only what the
    words agree to.

    Args:
        folder: The run.
        words: The words of the command line.
        may: The first parts of the keys that may be changed.
        wants: Returns the wants of a config that the verb would carry out.

    Raises:
        RunError: The folder holds no run.
        ConfigError: A word does not compose, or changes a setting that may not be changed; or the
            run is from elsewhere and wants something without consent.
    """
    again = OmegaConf.create(_literal(_moved(folder)))
    open_conf_folders(words.folders)
    with composing(words.overrides):
        changes = parsed(words.overrides)
        for word in changes:
            _change(again, word, may)
    config = read_config(again)
    if HIDDEN in config.store.url:
        raise ConfigError("a manifest holds no password: give store.url=… again, or set PGPASSWORD")
    if not words.trust and (why := why_foreign(folder)):
        agreed = [key_of(word) for word in changes if is_ours(word)]
        refused = [want for want in wants(config) if not _covered(want.key, agreed)]
        if refused:
            who = f"{str(folder.path)!r} is not a run of yours ({why}) and"
            raise refusal(who, as_clause(refused), [want.key for want in refused])
    return config


def _moved(folder: RunFolder) -> dict[str, Any]:  # any: JSON
    """Return the config of a run's last start, with its paths moved to where the folder is now."""
    config = folder.manifest.get("config") or {}
    try:
        name, before, url = str(config["name"]), str(config["runs"]), str(config["store"]["url"])
    except (KeyError, TypeError):
        raise RunError(
            f"the manifest of {str(folder.path)!r} holds no complete config: start the run again"
        ) from None
    here = str(runs_of(folder, name))
    if url.startswith(f"{before}/"):
        url = here + url.removeprefix(before)
    return {**config, "runs": here, "store": {"url": url}}


def runs_of(folder: RunFolder, name: str) -> Path:
    """Return the folder of all runs around a run of this name, or else the folder above it."""
    path, names = folder.path.resolve(), Path(name).parts
    runs = path.parents[len(names)] if path.parts[-1 - len(names) : -1] == names else path.parent
    return runs.relative_to(Path.cwd()) if runs.is_relative_to(Path.cwd()) else runs


def _literal(value: object) -> Any:  # any: JSON
    """Return JSON with each `${…}` escaped, so that OmegaConf resolves none."""
    match value:
        case dict():
            return {key: _literal(inner) for key, inner in value.items()}
        case list():
            return [*map(_literal, value)]
        case str():
            return INTERPOLATION.sub(r"\1\1\\${", value)
        case _:
            return value


def _change(config: DictConfig, word: Override, may: Collection[str]) -> None:
    """Apply one override."""
    group = GlobalHydra.instance().config_loader().get_group_options(word.key_or_group)
    key = key_of(word)
    if key.partition(".")[0] not in may:
        raise ConfigError(f"{word.input_line!r} has no effect here: change {', '.join(may)}")
    if word.is_delete():
        raise ConfigError(f"{word.input_line!r} removes a setting: here settings can only change")
    if group and isinstance(word.value(), str):
        made = compose("config", overrides=[f"+{word.key_or_group}@chosen={word.value()}"])
        OmegaConf.update(config, key, made.chosen, merge=False, force_add=True)
    else:
        OmegaConf.update(config, key, word.value(), force_add=True)


def _covered(key: str, agreed: Iterable[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in agreed)
