"""Compose a config from overrides, for every verb that is not a Hydra job."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from collab.cli.trust import add_trust_argument
from collab.config import Built, RunConfig, build, read
from collab.errors import ConfigError
from collab.plugins import open_doors
from collab.policy import Policy

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
    add_trust_argument(parser)


def composed(
    overrides: Sequence[str], config_dirs: Sequence[str] = (), policy: Policy | None = None
) -> Built:
    """Compose, validate and build one config, with a policy of one's own where it is given.

    Raises:
        ConfigError: The overrides do not compose, or what they make is wrong.
    """
    return build(config_of(overrides, config_dirs), policy)


def config_of(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> RunConfig:
    """Compose and validate one config; what its targets make is not looked at.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    open_doors(config_dirs)
    with _composing():
        return read(compose("config", overrides=list(overrides)))


def seatings(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[RunConfig]:
    """Compose the configs of a sweep, in so far as other models sit in them.

    What is swept over are words with several values and, unless a word sets the same, what the
    experiment's file sweeps over.

    Raises:
        ConfigError: The overrides do not compose, or a setting is wrong.
    """
    open_doors(config_dirs)
    with _composing():
        own = {word.get_key_element(): _values(word) for word in _parsed(overrides)}
        firsts = [values[0] for values in own.values()]
        file = compose("config", overrides=firsts, return_hydra_config=True).hydra.sweeper
        swept = _parsed(f"{key}={value}" for key, value in (file.get("params") or {}).items())
        words = {word.get_key_element(): _values(word) for word in swept if _seats(word)} | own
        return [read(compose("config", overrides=list(of))) for of in product(*words.values())]


def _parsed(words: Iterable[str]) -> list[Override]:
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(words))
    return parsed


def _values(word: Override) -> list[str]:
    """Return a word with each of its values, one of them where it seats nobody."""
    if not word.is_discrete_sweep():
        return [str(word.input_line)]
    values = [f"{word.get_key_element()}={value}" for value in word.sweep_string_iterator()]
    return values if _seats(word) else values[:1]


def _seats(word: Override) -> bool:
    return re.match(r"\+*(model@)?team\.", word.get_key_element()) is not None


@contextmanager
def _composing() -> Iterator[None]:
    """Let Hydra find the conf files, and say what it cannot do in a line."""
    try:
        with initialize_config_module(CONF, version_base="1.3"):
            yield
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
