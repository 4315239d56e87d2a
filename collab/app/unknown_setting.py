"""Say what a misspelt word of the command line may have meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf

from collab.config.config import RunConfig
from collab.config.docstrings import meaning
from collab.core.nearest import nearest

KEY = re.compile(r"Could not override '([^']*)'")
OPTION = re.compile(
    r"Could not find '([^']*)/([^/']*)'\s+Available options in '[^']*':\s+(.*)", re.S
)


def explain_unknown(error: Exception, words: Sequence[str]) -> str | None:
    """Name the nearest setting or option that exists; None for another error.

    Hydra must be initialised.

    Args:
        error: What Hydra raised when it composed the words.
        words: The words of the command line that change the config.
    """
    if found := OPTION.search(str(error)):
        options = found[3].partition("Config search path")[0]
        named = [name for name in options.split() if not name.startswith("_")]
        return _unknown_option(found[1], found[2], named)
    if found := KEY.search(str(error)):
        return _unknown_key(found[1], _composed(words))
    return None


def _unknown_option(group: str, name: str, options: Sequence[str]) -> str:
    near = nearest(name, options)
    meant = f"; did you mean {near!r}?" if near else ""
    return f"there is no {group} {name!r}{meant} (there are: {', '.join(options)})"


def _unknown_key(key: str, config: Mapping[str, object]) -> str:
    unknown = f"there is no setting {key!r}"
    team = config.get("team")
    if re.fullmatch(r"model|team\.\w+\.model", key) and isinstance(team, Mapping):
        return f"{unknown}; set the model of a seat: model@team.SEAT=NAME (seats: {_list(team)})"
    path, part, here = _furthest(key.split("."), config)
    near = nearest(part, here)
    if near is None and (elsewhere := [*_paths_to(part, config)]):
        path, near = elsewhere[0][:-1], part
    if near is None:
        place = f"settings in {'.'.join(path)}" if path else "settings"
        return f"{unknown} ({place}: {_list(here)})"
    what = meaning([*path, near], config, RunConfig)
    about = f" ({what[0].lower()}{what[1:]})" if what else ""
    return f"{unknown}; did you mean {'.'.join([*path, near])!r}{about}?"


def _furthest(
    parts: Sequence[str], config: Mapping[str, object]
) -> tuple[list[str], str, Mapping[str, object]]:
    """Return the part of a key that exists, the first that does not, and the settings there."""
    path: list[str] = []
    for part in parts:
        inner = config.get(part)
        if part == parts[-1] or not isinstance(inner, Mapping):
            return path, part, config
        path, config = [*path, part], inner
    return path, "", config


def _paths_to(name: str, config: Mapping[str, object]) -> Iterator[list[str]]:
    """Yield the paths of settings with a name, from the top down."""
    if name in config:
        yield [name]
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from ([key, *path] for path in _paths_to(name, value))


def _composed(words: Sequence[str]) -> Mapping[str, object]:
    """Compose the words that name settings which exist."""
    kept = [*words]
    while True:
        try:
            plain = OmegaConf.to_container(compose("config", overrides=kept), resolve=False)
        except HydraException as error:
            found = KEY.search(str(error))
            left = [word for word in kept if found and not word.startswith(f"{found[1]}=")]
            kept = left if len(left) < len(kept) else []
            continue
        assert isinstance(plain, dict)
        return {str(key): value for key, value in plain.items() if key != "hydra"}


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(name for name in names if name != "_target_") or "none"
