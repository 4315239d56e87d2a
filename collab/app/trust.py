"""The user's consent: which key may be sent to which host, and which folders may act.

A conf file can come from anyone, and names both an address and the environment variable of a key.
The user is asked about a new pair once. Without a terminal, a new pair is refused. Whatever else a
folder from elsewhere wants to do is refused without `--trust`.
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

from collab.app.user_folders import config_folder
from collab.endpoints.connection import is_loopback
from collab.errors import ConfigError

VARIABLE = "COLLAB_TRUST"
"""The environment variable with agreed pairs: VARIABLE@host, separated by commas."""
SHOWN = 4
"""The number of settings that a refusal names."""
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
    """Return the error for a folder that wants to do something without the user's consent.

    Args:
        who: The folder, and why it does not count as the user's own.
        wants: The clause that follows `wants to`.
        settings: The settings that ask for it.
    """
    keys = [*dict.fromkeys(settings)]
    named = ", ".join([*keys[:SHOWN], *(["…"] if keys[SHOWN:] else [])])
    return ConfigError(
        f"{who} wants to {wants}; add --trust if it may, or set {named} on the command line"
    )


def is_known_pair(variable: str, url: str) -> bool:
    """Tell whether the user agreed to send a key to an address, or collab's own conf does so."""
    try:
        pair = (variable, urlsplit(url).hostname or "")
    except ValueError:  # no address: the request reports that
        return False
    return pair in _shipped_pairs() or pair in _pairs_in_environment() or pair in _saved_pairs()


def may_send(variable: str, url: str) -> None:
    """Check that a key may be sent to an address; ask the user about a new pair.

    Raises:
        ConfigError: The key may not be sent there; the message says how to allow it.
    """
    host = urlsplit(url).hostname or ""
    if is_loopback(url) or is_known_pair(variable, url):
        return
    usual = ", ".join(sorted(where for name, where in _shipped_pairs() if name == variable))
    known = f", which collab's own conf sends to {usual}," if usual else ""
    question = f"the key in {variable}{known} would go to {host!r}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(f"{question}; if that is right, set {VARIABLE}={variable}@{host}")
    print(f"{question}. Send it there, now and later? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError(f"{question}, and you said no")
    _save_pair((variable, host))


@cache
def _shipped_pairs() -> frozenset[Pair]:
    """Return the pairs in collab's own conf."""
    pairs = set()
    for file in files("collab.conf").joinpath("model").iterdir():
        if file.name.endswith(".yaml"):
            settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            variable = settings.get("api_key_env")
            host = urlsplit(settings.get("base_url") or "").hostname
            if variable and host:
                pairs.add((variable, host))
    return frozenset(pairs)


def _pairs_in_environment() -> set[Pair]:
    words = os.environ.get(VARIABLE, "").split(",")
    parts = (word.strip().partition("@") for word in words if "@" in word)
    return {(variable, host.lower()) for variable, _, host in parts}


def _pairs_file() -> Path:
    return config_folder() / "keys.json"


def _saved_pairs() -> set[Pair]:
    try:
        return {(variable, host) for variable, host in json.loads(_pairs_file().read_bytes())}
    except (OSError, ValueError, TypeError):  # a missing or damaged file counts as no consent
        return set()


def _save_pair(pair: Pair) -> None:
    file, text = _pairs_file(), json.dumps(sorted(_saved_pairs() | {pair}), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        line = f"your answer is not saved: cannot write {str(file)!r} ({error.strerror})"
        print(line, file=sys.stderr)
