"""Conf folders from elsewhere (`-cd DIR`): what their files want is refused, unless it is typed.

A folder's own modules may be loaded, which is what `-cd` is for. What its YAML files want beside
that needs `--trust`: what a run of the same words without the folder would want as well is not
theirs, and what is typed on the command line is agreed to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from collab.app.overrides import composing, is_group, is_ours, key_of, parsed, values_of
from collab.app.trust import refusal
from collab.app.wants import Want, leaves, shows_as, wants_of
from collab.config.config import read_config
from collab.config.plugins import open_doors, options_of
from collab.errors import ConfigError

JOB = ("name", "override_dirname", "config_name", "num", "id")
USUAL = ("mode", "sweeper.params", "overrides", "runtime", *(f"job.{name}" for name in JOB))
"""What of Hydra's own settings an experiment may choose (whether and what it sweeps over), and what
names the words themselves."""


def open_checked(words: Sequence[str], folders: Sequence[str], *, trust: bool = False) -> None:
    """Open conf folders, unless their files want what was not agreed to.

    Args:
        words: The overrides.
        folders: What `-cd` names.
        trust: Whether the folders may do what they want.

    Raises:
        ConfigError: They want more, a folder is not there, or the words do not compose.
    """
    if folders and not trust:
        _check(words, [Path(folder).expanduser().resolve() for folder in folders])
    open_doors(folders)


def _check(words: Sequence[str], folders: Sequence[Path]) -> None:
    open_doors(map(str, folders))
    left = [*_strays(folders)] or [*_left(words, folders)]
    if left:
        who = f"the conf folder {', '.join(repr(str(folder)) for folder in folders)}"
        raise refusal(who, shows_as(left), [want.key for want in left])


def _left(words: Sequence[str], folders: Sequence[Path]) -> Iterator[Want]:
    """Yield what the folders want."""
    with composing(), _without_environment(words):
        own = [*_expanded(words)]
        every = [*own, *_swept(own[0])]
        wanted = dict.fromkeys(want for one in every for want in _wants(one))
    open_doors()
    known = {want for one in own for want in _known(one)}
    typed = [word for word in parsed(words) if not is_group(word)]
    keys = [key_of(word) for word in typed]
    values = {str(word.value()) for word in typed}
    for want in wanted:
        covered = any(want.key == key or want.key.startswith(f"{key}.") for key in keys)
        said = covered or (want.value and want.value in values)
        if want not in known and not said and not _is_inside(want, folders):
            yield want


def _is_inside(want: Want, folders: Sequence[Path]) -> bool:
    """Say whether a want is for a module or a file of the folders themselves."""
    if want.key.endswith("._target_"):
        top = want.value.partition(".")[0]
        return any((one / f"{top}.py").is_file() or (one / top).is_dir() for one in folders)
    return want.says.startswith("read ") and any(
        Path(want.value).exists() and Path(want.value).resolve().is_relative_to(one)
        for one in folders
    )


def _expanded(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words with each value that they sweep over in turn."""
    own = [values_of(word) for word in parsed(words)]
    firsts = [values[0] for values in own]
    yield firsts
    for nth, values in enumerate(own):
        yield from ([*firsts[:nth], value, *firsts[nth + 1 :]] for value in values[1:])


def _swept(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words with each value that the experiment's file sweeps over in turn."""
    file = compose("config", overrides=[*words], return_hydra_config=True).hydra.sweeper
    for key, value in (file.get("params") or {}).items():
        (word,) = parsed([f"{key}={value}"])
        yield from ([*words, one] for one in values_of(word))


def _wants(words: Sequence[str]) -> Iterator[Want]:
    composed = compose("config", overrides=list(words), return_hydra_config=True)
    yield from _of_hydra(composed)
    with open_dict(composed):
        del composed["hydra"]
    yield from wants_of(read_config(composed))


def _of_hydra(composed: DictConfig) -> Iterator[Want]:
    """Yield Hydra's own settings, whose classes it makes before we see them."""
    plain = OmegaConf.to_container(composed.hydra, resolve=False)
    for key, value in leaves(plain, "hydra"):
        if not key.removeprefix("hydra.").startswith(USUAL):
            yield Want(key, f"set {key} to {value!r}", str(value))


def _known(words: Sequence[str]) -> list[Want]:
    """Return what the same words want without the folders, as far as they compose then."""
    own = [word for word in parsed(words) if is_ours(word)]
    for kept in (own, [word for word in own if is_group(word)], []):
        try:
            with composing():
                return [*_wants([str(word.input_line) for word in kept])]
        except ConfigError:
            continue
    return []


def _strays(folders: Iterable[Path]) -> Iterator[Want]:
    """Yield the files that lead out of their folder: links, and defaults with `..`."""
    for folder in folders:
        for option in options_of(folder):
            file = folder / option
            if not Path(os.path.realpath(file)).is_relative_to(folder):
                yield Want(str(option), f"read {os.path.realpath(file)!r}")
            elif _leads_up(file.read_text(encoding="utf-8", errors="replace")):
                yield Want(str(option), f"read files outside of it (by {str(option)!r})")


def _leads_up(text: str) -> bool:
    """Say whether the defaults list of a conf file names something above its folder."""
    if "defaults" not in text or ".." not in text:
        return False
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):  # Hydra says what is wrong with it
        return False
    listed = content.get("defaults") if isinstance(content, dict) else None
    return any(".." in str(one) for one in listed or ()) if isinstance(listed, list) else False


@contextmanager
def _without_environment(words: Sequence[str]) -> Iterator[None]:
    """Let `${oc.env:…}` be resolved where it was typed, and nowhere else.

    Raises:
        ConfigError: A file wants it.
    """
    from omegaconf.resolvers import oc

    def refuse(name: str, *default: Any) -> Any:  # any: as declared there
        if any(f"oc.env:{name}" in word for word in words):
            return oc.env(name, *default)
        raise ConfigError(
            f"the conf folder wants to read the environment variable {name}; add --trust if it may"
        )

    OmegaConf.register_new_resolver("oc.env", refuse, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
