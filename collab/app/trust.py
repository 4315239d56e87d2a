"""What the user has agreed to: where a key may be sent, and whose folders may act.

A conf can come from anybody, and names both an address and the variable with a key. A pair that is
new is asked about once; where nobody can be asked it is refused. What else a folder from elsewhere
wants to do is refused unless `--trust` is on the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from collab.endpoints.connection import is_loopback
from collab.errors import ConfigError

VARIABLE = "COLLAB_TRUST"
"""Names pairs for where nobody can be asked: VARIABLE@host, separated by commas."""
SHOWN = 4
"""Settings that a refusal names."""
Pair = tuple[str, str]


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Let a verb take `--trust`."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let a folder from elsewhere start programs, send, and read other files, as its "
        "config says",
    )


def refusal(who: str, wants: str, settings: Iterable[str]) -> ConfigError:
    """Return what to raise where a folder wants to do something that the user has not agreed to.

    Args:
        who: The folder, and why it does not count as the user's own.
        wants: What it wants, as a clause behind `wants to`.
        settings: The settings that say so.
    """
    keys = [*dict.fromkeys(settings)]
    named = ", ".join([*keys[:SHOWN], *(["…"] if keys[SHOWN:] else [])])
    return ConfigError(
        f"{who} wants to {wants}; add --trust if it may, or set {named} on the command line"
    )


def is_known_pair(variable: str, url: str) -> bool:
    """Say whether a key was agreed to go to an address, or our own conf sends it there."""
    try:
        pair = (variable, urlsplit(url).hostname or "")
    except ValueError:  # it is no address, which is said where it is asked
        return False
    return pair in _ours() or pair in _named() or pair in _remembered()


def may_send(variable: str, url: str) -> None:
    """Let a key go to an address, or ask.

    Raises:
        ConfigError: It may not; the message says how to allow it.
    """
    host = urlsplit(url).hostname or ""
    if is_loopback(url) or is_known_pair(variable, url):
        return
    usual = ", ".join(sorted(where for name, where in _ours() if name == variable))
    known = f", which collab's own conf sends to {usual}," if usual else ""
    question = f"the key in {variable}{known} would go to {host!r}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"{question}; if that is right, set {VARIABLE}={variable}@{host}")
    print(f"{question}. Send it there, now and later? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError(f"{question}, and you said no")
    _remember((variable, host))


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
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # as the XDG specification has it
        base = os.path.expanduser("~/.config")
    return Path(base) / "collab" / "keys.json"


def _remembered() -> set[Pair]:
    try:
        return {(variable, host) for variable, host in json.loads(_file().read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()  # nothing was agreed to, as far as anybody can tell


def _remember(pair: Pair) -> None:
    file, text = _file(), json.dumps(sorted(_remembered() | {pair}), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        said = f"this is not remembered: cannot write {str(file)!r} ({error.strerror})"
        print(said, file=sys.stderr)
