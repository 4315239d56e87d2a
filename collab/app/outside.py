"""Check conf folders from elsewhere (`-cd DIR`): their files may do nothing without consent.

A folder may load its own modules, which is the purpose of `-cd`. Any other want of its YAML files
needs `--trust`, unless a run of the same words without the folder has it too, or the user typed it
on the command line.
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
from collab.app.wants import Want, as_clause, leaves, wants_of
from collab.config.config import read_config
from collab.config.plugins import open_conf_folders, options_of
from collab.errors import ConfigError

JOB = ("name", "override_dirname", "config_name", "num", "id")
USUAL = ("mode", "sweeper.params", "overrides", "runtime", *(f"job.{name}" for name in JOB))
"""Hydra's own settings that an experiment may choose (whether and what it sweeps over), and those
that only repeat the words."""


def open_checked(words: Sequence[str], folders: Sequence[str], *, trust: bool = False) -> None:
    """Open conf folders after checking that their files want nothing without consent.

    Args:
        words: The overrides.
        folders: The folders that `-cd` names.
        trust: Open the folders without this check.

    Raises:
        ConfigError: The files want more, a folder does not exist, or the words do not compose.
    """
    if folders and not trust:
        _check(words, [Path(folder).expanduser().resolve() for folder in folders])
    open_conf_folders(folders)


def _check(words: Sequence[str], folders: Sequence[Path]) -> None:
    open_conf_folders(map(str, folders))
    left = [*_stray_files(folders)] or [*_unagreed(words, folders)]
    if left:
        who = f"the conf folder {', '.join(repr(str(folder)) for folder in folders)}"
        raise refusal(who, as_clause(left), [want.key for want in left])


def _unagreed(words: Sequence[str], folders: Sequence[Path]) -> Iterator[Want]:
    """Yield the wants of the folders that the user has not agreed to."""
    with composing(words), _without_environment(words):
        own = [*_expanded(words)]
        every = [*own, *_swept(own[0])]
        wanted = dict.fromkeys(want for job in every for want in _wants(job))
    open_conf_folders()
    known = {want for job in own for want in _wants_without_folders(job)}
    typed = [word for word in parsed(words) if not is_group(word)]
    keys = [key_of(word) for word in typed]
    values = {str(word.value()) for word in typed}
    for want in wanted:
        covered = any(want.key == key or want.key.startswith(f"{key}.") for key in keys)
        agreed = covered or (want.value and want.value in values)
        if want not in known and not agreed and not _is_inside(want, folders):
            yield want


def _is_inside(want: Want, folders: Sequence[Path]) -> bool:
    """Tell whether a want is for a module or a file inside the folders."""
    if want.key.endswith("._target_"):
        top = want.value.partition(".")[0]
        return any((one / f"{top}.py").is_file() or (one / top).is_dir() for one in folders)
    return want.says.startswith("read ") and any(
        Path(want.value).exists() and Path(want.value).resolve().is_relative_to(one)
        for one in folders
    )


def _expanded(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words of a first job, then those of one job for each other value."""
    own = [values_of(word) for word in parsed(words)]
    firsts = [values[0] for values in own]
    yield firsts
    for nth, values in enumerate(own):
        yield from ([*firsts[:nth], value, *firsts[nth + 1 :]] for value in values[1:])


def _swept(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words with each value that the experiment's file sweeps over."""
    file = compose("config", overrides=[*words], return_hydra_config=True).hydra.sweeper
    for key, value in (file.get("params") or {}).items():
        (word,) = parsed([f"{key}={value}"])
        yield from ([*words, one] for one in values_of(word))


def _wants(words: Sequence[str]) -> Iterator[Want]:
    composed = compose("config", overrides=list(words), return_hydra_config=True)
    yield from _hydra_wants(composed)
    with open_dict(composed):
        del composed["hydra"]
    yield from wants_of(read_config(composed))


def _hydra_wants(composed: DictConfig) -> Iterator[Want]:
    """Yield the settings of Hydra itself, which instantiates their classes before collab does."""
    plain = OmegaConf.to_container(composed.hydra, resolve=False)
    for key, value in leaves(plain, "hydra"):
        if not key.removeprefix("hydra.").startswith(USUAL):
            yield Want(key, f"set {key} to {value!r}", str(value))


def _wants_without_folders(words: Sequence[str]) -> list[Want]:
    """Return the wants of the same words without the folders, as far as these compose."""
    own = [word for word in parsed(words) if is_ours(word)]
    for kept in (own, [word for word in own if is_group(word)], []):
        try:
            with composing():
                return [*_wants([str(word.input_line) for word in kept])]
        except ConfigError:
            continue
    return []


def _stray_files(folders: Iterable[Path]) -> Iterator[Want]:
    """Yield the files that point outside their folder: links, and defaults with `..`."""
    for folder in folders:
        for option in options_of(folder):
            file = folder / option
            if not Path(os.path.realpath(file)).is_relative_to(folder):
                yield Want(str(option), f"read {os.path.realpath(file)!r}")
            elif _leads_up(file.read_text(encoding="utf-8", errors="replace")):
                yield Want(str(option), f"read files outside of it (by {str(option)!r})")


def _leads_up(text: str) -> bool:
    """Tell whether the defaults list of a conf file names a file above its folder."""
    if "defaults" not in text or ".." not in text:
        return False
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):  # Hydra reports the error
        return False
    listed = content.get("defaults") if isinstance(content, dict) else None
    return any(".." in str(one) for one in listed or ()) if isinstance(listed, list) else False


@contextmanager
def _without_environment(words: Sequence[str]) -> Iterator[None]:
    """Resolve `${oc.env:…}` only where the user typed it.

    Raises:
        ConfigError: A file reads another environment variable.
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
