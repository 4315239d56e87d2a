"""Compose a config from overrides without Hydra's own command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from hydra import compose
from hydra.core.override_parser.types import Override

from collab.app.outside import open_checked
from collab.app.overrides import composing, is_seat, parsed, values_of
from collab.app.trust import add_trust_argument
from collab.config.config import Built, RunConfig, build, read_config
from collab.core.policy import Policy
from collab.errors import ConfigError


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for overrides and outside conf folders."""
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
    add_trust_argument(parser)


def composed(
    overrides: Sequence[str],
    config_dirs: Sequence[str | Path] = (),
    policy: Policy | None = None,
    *,
    trust: bool = False,
) -> Built:
    """Compose, validate and build one config; a policy value replaces the config's.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    return build(config_of(overrides, config_dirs, trust=trust), policy)


def config_of(
    overrides: Sequence[str], config_dirs: Sequence[str | Path] = (), *, trust: bool = False
) -> RunConfig:
    """Compose and validate one config without instantiating its targets.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    open_checked(overrides, [str(folder) for folder in config_dirs], trust=trust)
    with composing(overrides):
        return read_config(compose("config", overrides=list(overrides)))


def refuse_sweep(
    words: Sequence[str], config_dirs: Sequence[str | Path] = (), *, trust: bool = False
) -> None:
    """Refuse words that are a sweep of several runs.

    Raises:
        ConfigError: A word has several values, or the experiment's file sweeps over some.
    """
    open_checked(words, [str(folder) for folder in config_dirs], trust=trust)
    with composing(words):
        own = parsed(words)
        if swept := [word for word in own if word.is_sweep_override()]:
            line = swept[0].input_line
            raise ConfigError(f"{line!r} has several values: play them with collab.sweep")
        if over := _swept_by_file(own):
            raise ConfigError(f"this experiment sweeps over {over}: play it with collab.sweep")


def is_sweep(
    words: Sequence[str], config_dirs: Sequence[str | Path] = (), *, trust: bool = False
) -> bool:
    """Tell whether the file of an experiment sweeps over some values.

    Raises:
        ConfigError: The words do not compose.
    """
    open_checked(words, [str(folder) for folder in config_dirs], trust=trust)
    with composing(words):
        return bool(_swept_by_file(parsed(words)))


def _swept_by_file(words: Sequence[Override]) -> str:
    """Name what an experiment's file sweeps over; empty if it does not, or there is none."""
    if not any(word.key_or_group == "experiment" for word in words):
        return ""
    lines = [str(word.input_line) for word in words]
    hydra = compose("config", overrides=lines, return_hydra_config=True).hydra
    if hydra.mode is None or hydra.mode.name != "MULTIRUN":
        return ""
    return ", ".join(hydra.sweeper.params or {})


def team_configs(
    overrides: Sequence[str], config_dirs: Sequence[str] = (), *, trust: bool = False
) -> list[RunConfig]:
    """Compose the configs of a sweep that differ in the models of their seats.

    Swept over are words with several values and, unless a word sets the same key, the values that
    the experiment's file sweeps over.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    open_checked(overrides, config_dirs, trust=trust)
    with composing(overrides):
        own = {word.get_key_element(): _values(word) for word in parsed(overrides)}
        firsts = [values[0] for values in own.values()]
        file = compose("config", overrides=firsts, return_hydra_config=True).hydra.sweeper
        swept = parsed(f"{key}={value}" for key, value in (file.get("params") or {}).items())
        words = {word.get_key_element(): _values(word) for word in swept if is_seat(word)} | own
        return [
            read_config(compose("config", overrides=list(of))) for of in product(*words.values())
        ]


def _values(word: Override) -> list[str]:
    """Return a word once for each model that it puts in a seat; any other word once."""
    values = values_of(word)
    return values if is_seat(word) else values[:1]


def expand_model_words(words: Sequence[str]) -> list[str]:
    """Turn `model=X model.key=Y` into the words for the one seat of the team `solo`."""
    if not any(word.startswith("model=") for word in words):
        return [*words]
    long = [re.sub(r"^model=", "model@team.main=", word) for word in words]
    return ["team=solo", *(re.sub(r"^(\+*|~)model\.", r"\1team.main.", word) for word in long)]
