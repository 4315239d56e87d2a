"""Whom a key may be sent to: the hosts of our own conf, this machine, and whom the user has named.

A conf can come from anybody, and names both an address and the variable with a key. A pair that is
new is asked about once; where nobody can be asked it is refused.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from collab.endpoints.connection import is_loopback
from collab.errors import ConfigError

VARIABLE = "COLLAB_TRUST"
"""Names pairs for where nobody can be asked: VARIABLE@host, separated by commas."""
Pair = tuple[str, str]


def may_send(variable: str, url: str) -> None:
    """Let a key go to an address, or ask.

    Raises:
        ConfigError: It may not; the message says how to allow it.
    """
    host = urlsplit(url).hostname or ""
    pair = (variable, host)
    if is_loopback(url) or pair in _ours() or pair in _named() or pair in _remembered():
        return
    usual = ", ".join(sorted(where for name, where in _ours() if name == variable))
    known = f", which collab's own conf sends to {usual}," if usual else ""
    question = f"the key in {variable}{known} would go to {host!r}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"{question}; if that is right, set {VARIABLE}={variable}@{host}")
    print(f"{question}. Send it there, now and later? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError(f"{question}, and you said no")
    _remember(pair)


@cache
def _ours() -> frozenset[Pair]:
    """Return the pairs of the models that ship with collab."""
    pairs = set()
    for file in files("collab.conf").joinpath("model").iterdir():
        if file.name.endswith(".yaml"):
            settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            variable = settings.get("api_key_env")
            host = urlsplit(settings.get("base_url") or "").hostname
            if variable and host:
                pairs.add((variable, host))
    return frozenset(pairs)


def _named() -> set[Pair]:
    words = os.environ.get(VARIABLE, "").split(",")
    parts = (word.strip().partition("@") for word in words if "@" in word)
    return {(variable, host.lower()) for variable, _, host in parts}


def _file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "collab" / "keys.json"


def _remembered() -> set[Pair]:
    try:
        return {(variable, host) for variable, host in json.loads(_file().read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()


def _remember(pair: Pair) -> None:
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(sorted(_remembered() | {pair}), indent=1) + "\n", encoding="utf-8")
