"""From a run's folder back to its config, with some words changed: for verbs that go on from a run.

What the manifest says is taken as it stands, even where a conf file has changed since; a word such
as `policy=guide` puts a whole new group in the place of the old one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from collab.cli.compose import CONF, one_line
from collab.config import RunConfig, read
from collab.errors import ConfigError
from collab.folder import RunFolder
from collab.plugins import open_doors
from collab.secret import HIDDEN


def config_again(
    folder: RunFolder, words: Sequence[str], may: Collection[str], folders: Sequence[str] = ()
) -> RunConfig:
    """Return a run's config with some words changed, its places where the folder is now.

    Args:
        folder: The run.
        words: Overrides, as `collab run` takes them.
        may: The first parts of the keys that they may change.
        folders: Conf folders of one's own.

    Raises:
        RunError: There is no run.
        ConfigError: A word does not compose, or changes what it may not.
    """
    again = OmegaConf.create(_moved(folder))
    open_doors(folders)
    try:
        with initialize_config_module(CONF, version_base="1.3"):
            for word in OverridesParser.create().parse_overrides([*words]):
                _change(again, word, may)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from None
    config = read(again)
    if HIDDEN in config.store.url:
        raise ConfigError("a manifest holds no password: say store.url=… again, or use PGPASSWORD")
    return config


def _moved(folder: RunFolder) -> dict[str, object]:
    """Return the config of a run's last start, with the places of the folder as it stands now."""
    config: dict[str, object] = folder.manifest["config"]
    name, before = str(config["name"]), str(config["runs"])
    runs = folder.path.resolve().parents[name.count("/") + 1]
    here = str(runs.relative_to(Path.cwd()) if runs.is_relative_to(Path.cwd()) else runs)
    store = config["store"]
    assert isinstance(store, dict)
    url = str(store["url"])
    if url.startswith(f"{before}/"):
        url = here + url.removeprefix(before)
    return {**config, "runs": here, "store": {"url": url}}


def _change(config: DictConfig, word: Override, may: Collection[str]) -> None:
    """Carry out one override."""
    group = GlobalHydra.instance().config_loader().get_group_options(word.key_or_group)
    key = word.package or word.key_or_group.replace("/", ".")
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
