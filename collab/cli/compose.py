"""Compose a config from overrides, for every verb that is not a Hydra job."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from hydra import compose, initialize_config_module
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from collab.config import Built, RunConfig, build, read
from collab.errors import ConfigError
from collab.plugins import open_doors

CONF = "collab.conf"


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a verb take overrides and outside conf folders."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="changes to the config, such as policy=guide team.main.temperature=0.1",
    )
    parser.add_argument(
        "-cd",
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with conf files and modules of your own (repeatable)",
    )


def composed(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Built:
    """Compose, validate and build one config.

    Raises:
        ConfigError: The overrides do not compose, or what they make is wrong.
    """
    return build(config_of(overrides, config_dirs))


def config_of(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> RunConfig:
    """Compose and validate one config; what its targets make is not looked at.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    open_doors(config_dirs)
    try:
        with initialize_config_module(CONF, version_base="1.3"):
            return read(compose("config", overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from None


def spelled_out(words: Sequence[str]) -> list[str]:
    """Turn `model=X model.key=Y` into the words that fill the one seat of a team."""
    if not any(word.startswith("model=") for word in words):
        return [*words]
    long = [re.sub(r"^model=", "model@team.main=", word) for word in words]
    return ["team=solo", *(re.sub(r"^(\+*|~)model\.", r"\1team.main.", word) for word in long)]


def one_line(error: BaseException) -> str:
    """Press one of Hydra's errors into a line: what it could not do, and what it could."""
    if isinstance(error, OverrideParseException):
        key, is_set, value = error.override.partition("=")
        fix = f"""a value with signs goes in quotes of its own: "{key}='{value}'\""""
        return f"cannot read {error.override!r}; {fix if is_set else 'a setting is key=value'}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("Config search path", "Set the environment variable", "full_key")):
            break
        kept.append(line)
    return " ".join(kept) or type(error).__name__
