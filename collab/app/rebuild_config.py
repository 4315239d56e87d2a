"""From a run's folder back to its config, with some words changed: for verbs that go on from a run.

What the manifest says is taken as it stands, even where a conf file has changed since; a word such
as `policy=guide` puts a whole new group in the place of the old one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from collab.app.mark import why_foreign
from collab.app.overrides import CONF, is_ours, key_of, one_line, parsed
from collab.app.trust import refusal
from collab.app.wants import Want, shows_as
from collab.config.config import RunConfig, read_config
from collab.config.plugins import open_doors
from collab.core.secret import HIDDEN
from collab.errors import ConfigError, RunError
from collab.runs.run_folder import RunFolder

INTERPOLATION = re.compile(r"(\\*)\$\{")


@dataclass(frozen=True)
class CommandLine:
    """What the command line says of a run that a verb goes on from."""

    overrides: Sequence[str]
    """Changes, as `collab run` takes them."""
    folders: Sequence[str] = ()
    """Conf folders of one's own."""
    trust: bool = False
    """Whether the run may do whatever its config says."""


def config_again(
    folder: RunFolder,
    words: CommandLine,
    may: Collection[str],
    wants: Callable[[RunConfig], Iterable[Want]],
) -> RunConfig:
    """Return a run's config with some words changed, its places where the folder is now.

    What the manifest says is data: no `${…}` in it is resolved. What a run from elsewhere wants to
    do is refused, unless the words say it.

    Args:
        folder: The run.
        words: What the command line says.
        may: The first parts of the keys that may be changed.
        wants: What the verb would do of what a config wants.

    Raises:
        RunError: There is no run.
        ConfigError: A word does not compose, or changes what it may not; or the run is from
            elsewhere and wants what was not agreed to.
    """
    again = OmegaConf.create(_literal(_moved(folder)))
    open_doors(words.folders)
    try:
        with initialize_config_module(CONF, version_base="1.3"):
            changes = parsed(words.overrides)
            for word in changes:
                _change(again, word, may)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from None
    config = read_config(again)
    if HIDDEN in config.store.url:
        raise ConfigError("a manifest holds no password: say store.url=… again, or use PGPASSWORD")
    if not words.trust and (why := why_foreign(folder)):
        said = [key_of(word) for word in changes if is_ours(word)]
        left = [want for want in wants(config) if not _covered(want.key, said)]
        if left:
            who = f"{str(folder.path)!r} is not a run of yours ({why}) and"
            raise refusal(who, shows_as(left), [want.key for want in left])
    return config


def _moved(folder: RunFolder) -> dict[str, Any]:  # any: JSON
    """Return the config of a run's last start, with the places of the folder as it stands now."""
    config = folder.manifest.get("config") or {}
    try:
        name, before, url = str(config["name"]), str(config["runs"]), str(config["store"]["url"])
    except (KeyError, TypeError):
        raise RunError(
            f"the manifest of {str(folder.path)!r} holds no whole config: start the run again"
        ) from None
    here = str(runs_of(folder, name))
    if url.startswith(f"{before}/"):
        url = here + url.removeprefix(before)
    return {**config, "runs": here, "store": {"url": url}}


def runs_of(folder: RunFolder, name: str) -> Path:
    """Return the folder of the runs that one of this name lies in; else the folder above it."""
    path, names = folder.path.resolve(), Path(name).parts
    runs = path.parents[len(names)] if path.parts[-1 - len(names) : -1] == names else path.parent
    return runs.relative_to(Path.cwd()) if runs.is_relative_to(Path.cwd()) else runs


def _literal(value: object) -> Any:  # any: JSON
    """Return JSON in which OmegaConf finds no interpolation."""
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
    """Carry out one override."""
    group = GlobalHydra.instance().config_loader().get_group_options(word.key_or_group)
    key = key_of(word)
    if key.partition(".")[0] not in may:
        raise ConfigError(
            f"{word.input_line!r} has no effect here: what may be changed is {', '.join(may)}"
        )
    if word.is_delete():
        raise ConfigError(f"{word.input_line!r}: here settings are changed, not taken out")
    if group and isinstance(word.value(), str):
        made = compose("config", overrides=[f"+{word.key_or_group}@chosen={word.value()}"])
        OmegaConf.update(config, key, made.chosen, merge=False, force_add=True)
    else:
        OmegaConf.update(config, key, word.value(), force_add=True)


def _covered(key: str, said: Iterable[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in said)
