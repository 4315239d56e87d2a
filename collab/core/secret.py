"""Hide secrets in settings, found by their names and by the form of their values.

Everything a run writes about its settings (manifest, lock, command line) passes through here. Keys
that a server repeats in its replies are hidden by `collab/endpoints/veil.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

HIDDEN = "***"
_NAMES = r"key|token|secret|passw(?:or)?d|passphrase|pwd|credentials?|authorization|bearer|cookie"
SECRET = re.compile(rf"(?:{_NAMES})$", re.IGNORECASE)
"""Matches the name of a setting that holds a secret."""
_USERINFO = re.compile(r"(://[^/@:\s]*:)\S*@")
"""A password in a URL, up to the last `@`, since it may contain one."""
_QUERY = re.compile(rf"([?&][^=&\s]*(?:{_NAMES})=)[^&\s'\"]+", re.IGNORECASE)
"""A secret in a URL's query."""
_HEADER = re.compile(r"\s*(bearer|basic)\s+\S+\s*", re.IGNORECASE)
"""The value of an authorization header."""
_INLINE = re.compile(rf"((?:{_NAMES})['\"]?\s*[:=]\s*)[^,}}\]]+", re.IGNORECASE)
"""A secret in a mapping written on one line."""


def hide(value: object, name: str = "") -> object:
    """Return plain data with `HIDDEN` in place of each secret.

    Args:
        value: A value that JSON can represent.
        name: The name of the setting.
    """
    match value:
        case dict():
            return {
                key: hide(inner, name if SECRET.search(name) else str(key))
                for key, inner in value.items()
            }
        case list() | tuple():
            return [hide(inner, name) for inner in value]
        case None | bool():
            return value
        case _ if SECRET.search(name):
            return HIDDEN
        case str():
            return hide_text(value)
        case _:
            return value


def hide_text(text: str) -> str:
    """Return a text without passwords in URLs; an authorization header is hidden whole."""
    if _HEADER.fullmatch(text):
        return HIDDEN
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<1>{HIDDEN}", _USERINFO.sub(rf"\g<1>{HIDDEN}@", text))


def hide_words(words: Iterable[str]) -> list[str]:
    """Return the words of a command line without secrets.

    A word such as `team.main.extra.api_key=…` holds a secret by the name before its `=`.
    """
    return [_hide_word(word) for word in words]


def secrets_in(value: object, name: str = "") -> Iterator[str]:
    """Yield the texts in plain data whose setting has the name of a secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from secrets_in(inner, name if SECRET.search(name) else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner, name)
    elif isinstance(value, str) and SECRET.search(name):
        yield value.removeprefix("Bearer ")


def _hide_word(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and value and SECRET.search(name):
        return f"{name}={HIDDEN}"
    if "{" in value:
        value = _INLINE.sub(rf"\g<1>{HIDDEN}", value)
    return name + equals + hide_text(value) if equals else hide_text(word)
