"""The wants of a config: programs to start, addresses, files and secrets.

A config from elsewhere is data. A want is something that it would make collab do beyond playing
shipped reasoners in a sandbox. The user is asked first.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from collab.app.trust import is_known_pair
from collab.config.config import ModelConfig, RunConfig, ToolConfig
from collab.core.secret import hide_text
from collab.endpoints.spec import LaunchedSpec
from collab.sandbox import ProgramLimits

TARGET = re.compile(r"_target_:\s*([\w.]+)")
READS = ("path", "cohort", "repo", "thoughts")
"""Settings of question sets and scenarios that name a file or a dataset."""
LONGEST = 200
"""The most characters of a value that a refusal shows."""


@dataclass(frozen=True)
class Want:
    """One action that a config asks for."""

    key: str
    """The dotted key of the setting."""
    says: str
    """The action, as the clause that follows `wants to`."""
    value: str = ""
    """The address, path or name in the setting."""


def wants_of(config: RunConfig) -> list[Want]:
    """Return all wants of a config."""
    return [
        *program_wants(config),
        *seat_wants(config, config.team),
        *store_wants(config),
        *file_wants(config),
        *target_wants(config, ("scenario", "policy", "boundary", "questions", "hooks")),
        *hook_wants(config),
    ]


def program_wants(config: RunConfig) -> Iterator[Want]:
    """Yield the wants of the grader of programs."""
    code = config.grader.code
    yield from _sandbox("grader.code", code.sandbox, code.limits)


def seat_wants(config: RunConfig, seats: Iterable[str]) -> Iterator[Want]:
    """Yield the wants of some seats: servers, addresses, keys, files."""
    for seat in seats:
        one, key = config.team.get(seat), f"team.{seat}"
        if seat in config.banks:
            name = config.banks[seat].name
            yield Want(f"{key}.bank", f"read the imported traces {name!r}", name)
        if isinstance(one, ModelConfig):
            yield from _model(key, one)
        elif isinstance(one, ToolConfig):
            yield from _sandbox(key, one.sandbox, one.limits)


def store_wants(config: RunConfig) -> Iterator[Want]:
    """Yield the want of the store, unless it is a file in the folder of the runs."""
    url = config.store.url
    if "://" in url:
        yield Want("store.url", f"send to {_shown(url)}", url)
    elif not _is_in_runs(url, config.runs):
        yield Want("store.url", f"write to {_shown(url)}", url)


def file_wants(config: RunConfig) -> Iterator[Want]:
    """Yield the files and datasets that the questions and the scenario read."""
    for group in ("questions", "scenario"):
        for key, value in leaves(getattr(config, group), group):
            if key.rpartition(".")[2] in READS and isinstance(value, str | Path):
                yield Want(key, f"read {_shown(value)}", str(value))


def target_wants(config: RunConfig, groups: Iterable[str]) -> Iterator[Want]:
    """Yield the classes that belong neither to collab nor to an installed plugin."""
    packages = {point.value.partition(".")[0] for point in entry_points(group="collab.conf")}
    for group in groups:
        for key, value in leaves(getattr(config, group), group):
            if key.rpartition(".")[2] != "_target_" or value in _targets():
                continue
            if str(value).partition(".")[0] not in packages:
                yield Want(key, f"load {_shown(value)}", str(value))


def hook_wants(config: RunConfig) -> Iterator[Want]:
    """Yield the trackers that a run is sent to, each with its settings."""
    for name, settings in config.hooks.items():
        if settings.get("_target_") in _targets():
            yield Want(f"hooks.{name}", f"send the results to {name}", str(settings))


def as_clause(wants: Sequence[Want]) -> str:
    """Join wants to one clause."""
    said = [*dict.fromkeys(want.says for want in wants)]
    return " and ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said)


def _model(key: str, model: ModelConfig) -> Iterator[Want]:
    remote = [("base_url", model.base_url), *(("replicas", url) for url in model.replicas)]
    for name, url in remote:
        if url is not None:
            yield Want(f"{key}.{name}", f"send to {_shown(url)}", url)
            yield from _key(key, model.api_key_env, url)
    if model.uds is not None:
        yield Want(f"{key}.uds", f"send to the socket {_shown(model.uds)}", model.uds)
        yield from _key(key, model.api_key_env, "http://localhost")
    if model.base_url is None and model.uds is None and isinstance(model.launch, LaunchedSpec):
        yield Want(f"{key}.launch", f"start {_command(model.launch)}")
    if model.extra:
        fields = ", ".join(map(repr, model.extra))
        yield Want(f"{key}.extra", f"send the request fields {fields[:LONGEST]}", str(model.extra))
    if model.checkpoint is not None and not is_shipped(model.checkpoint):
        yield Want(f"{key}.checkpoint", f"read {_shown(model.checkpoint)}", model.checkpoint)


def _key(key: str, variable: str | None, url: str) -> Iterator[Want]:
    if variable is not None and not is_known_pair(variable, url):
        says = f"send the secret in the environment variable {variable}"
        yield Want(f"{key}.api_key_env", says, variable)


def is_shipped(checkpoint: str) -> bool:
    """Tell whether a checkpoint ships with collab."""
    from collab.pocket.server import shipped  # slow to import

    return checkpoint.startswith("pocket/") and checkpoint.removeprefix("pocket/") in shipped()


def _command(spec: LaunchedSpec) -> str:
    words = _shown(shlex.join([spec.program, "…", *spec.args]))
    names = ", ".join(name for name, _ in spec.env)
    return f"{words} with {names[:LONGEST]} set" if names else words


def _sandbox(key: str, name: str, limits: ProgramLimits) -> Iterator[Want]:
    if name != "bubblewrap":
        yield Want(f"{key}.sandbox", "run programs without a sandbox", name)
    usual = ProgramLimits()
    for field in ProgramLimits.model_fields:
        if getattr(limits, field) > getattr(usual, field):
            says = f"allow programs {field}={getattr(limits, field)!r}"
            yield Want(f"{key}.limits.{field}", says)


def _is_in_runs(url: str, runs: Path) -> bool:
    """Tell whether a store is a file in the folder of the runs, not a link that leads elsewhere."""
    path = Path(url)
    return path.parent == runs and path.resolve().parent == runs.resolve()


def leaves(value: object, key: str) -> Iterator[tuple[str, Any]]:  # any: JSON
    """Yield each value in plain settings with its dotted key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{key}.{number}")
    else:
        yield key, value


def _shown(value: object) -> str:
    return repr(hide_text(str(value))[:LONGEST])


@cache
def _targets() -> frozenset[str]:
    """Return the classes that collab's own conf names."""
    found: set[str] = set()
    todo = [files("collab.conf")]
    while todo:
        for one in todo.pop().iterdir():
            if one.is_dir():
                todo.append(one)
            elif one.name.endswith(".yaml"):
                found.update(TARGET.findall(one.read_text(encoding="utf-8")))
    return frozenset(found)
