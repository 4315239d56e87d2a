"""Find API keys in a server's text, in any spelling, and remove them.

Servers and proxies repeat keys: in an error, in a redirect, escaped as JSON or percent-encoded, in
two parts of a stream. Errors and names are shown without the key. A sample is never altered, so one
that contains the key is refused: its token ids would contain it too.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache

VEIL = "[key]"
SHORTEST = 8
"""A key with fewer characters is a placeholder (`EMPTY`, `none`, `x`), and no secret."""
WORD = 12
"""A key of only letters is a placeholder if it has fewer than these, as in `placeholder`."""
BEGIN = 8
"""The shortest beginning of a key that is hidden too (characters), as messages cut quotes."""
LAYERS = 8
"""How often an escaped text is unescaped."""
_SPELLED = re.compile(
    r"\\+(?:u00|x)([0-7][0-9a-fA-F])"  # JSON, and JSON within JSON
    r"|%(?:25)*(?:u00)?([2-7][0-9a-fA-F])"  # URLs, encoded any number of times
    r"|\\+(?=[/\"'])"  # JSON may escape a slash
)
_SIGNS = ("\\u00", "\\x", "\\/", '\\"', "\\'", "%", "&")
"""One of these is in every text that spells a letter otherwise."""
_MARKS = ("\\", "%", "&")
_BEGUN = (
    r"(?:\\+(?:u(?:0(?:0[0-7]?)?)?|x[0-7]?)?"
    r"|%(?:25)*(?:25?|[3-7]|u(?:0(?:0[2-7]?)?)?)?"
    r"|&(?:amp;)*(?:#[xX]?[0-9a-fA-F]*|[a-zA-Z]*))\Z"
)
"""The beginning of a letter that is spelled otherwise, where a text ends."""
WIDEST = 12
"""The most characters that spell one letter in a stream."""


def is_secret(key: str) -> bool:
    """Say whether a key is one: local servers take any word for a key, and texts hold words."""
    return len(key) >= SHORTEST and not (key.isalpha() and len(key) < WORD)


class SecretFinder:
    """Finds some secrets in texts.

    Args:
        keys: The secrets; placeholders are left out.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple({key for key in keys if is_secret(key)})
        self._begins = tuple({key[:BEGIN] for key in self._keys})

    def holds(self, text: str) -> bool:
        """Tell whether a text contains a key in any spelling."""
        return _holds(text, self._keys)

    def hide(self, text: str) -> str:
        """Return a text without the keys and without beginnings of one that was cut."""
        if not _holds(text, self._begins):
            return text
        for key in self._keys:
            text = _pattern(key).sub(VEIL, text)
        for begin in self._begins:
            text = re.sub(_pattern(begin).pattern + r"[^\s\"'<>]*", VEIL, text)
        return VEIL if _holds(text, self._begins) else text

    def beginning(self, text: str) -> int:
        """Return how many characters at a text's end may be the beginning of a key."""
        return max((_begun(text, key) for key in self._keys), default=0)


def _holds(text: str, keys: tuple[str, ...]) -> bool:
    """Search for keys in a text and in its unescaped form."""
    for _ in range(LAYERS if keys else 0):
        if any(key in text for key in keys):
            return True
        plain = _plain(text)
        if plain == text:
            return False
        text = plain
    return any(key in text for key in keys)


def _plain(text: str) -> str:
    """Undo one layer of escapes."""
    if not any(sign in text for sign in _SIGNS):
        return text
    text = _SPELLED.sub(_meant, text)
    return html.unescape(text) if "&" in text else text


def _meant(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else ""


def _begun(text: str, key: str) -> int:
    """Return how many characters at a text's end may be the beginning of one key."""
    tail = text[-WIDEST * len(key) :]
    spelled = any(sign in tail for sign in _MARKS)
    for found in (_first(key) if spelled else re.compile(re.escape(key[0]))).finditer(tail):
        end = tail[found.start() :]
        if end[0] == key[0] and end[1:2] not in ("", key[1], *_MARKS):
            continue  # the second letter rules most out
        if key.startswith(_whole(end) if spelled else end):
            return len(end)
    return 0


def _whole(text: str) -> str:
    """Undo all escapes; half of one at the end is left out."""
    text = re.sub(_BEGUN, "", text)
    for _ in range(LAYERS):
        if (plain := _plain(text)) == text:
            break
        text = plain
    return text


@cache
def _pattern(key: str) -> re.Pattern[str]:
    """Return a pattern for a key, with each letter in any spelling."""
    return re.compile("".join(map(_letter, key)))


@cache
def _first(key: str) -> re.Pattern[str]:
    """Return a pattern for a possible beginning of a key, even half of its first letter."""
    return re.compile(f"{_letter(key[0])}|{_BEGUN}")


def _letter(letter: str) -> str:
    code = ord(letter)
    hexadecimal = f"(?i:{code:02x})"
    named = "|".join(re.escape(name) for name in _names().get(letter, ()))
    entity = rf"#0*{code}|#[xX]0*{hexadecimal}" + (f"|{named}" if named else "")
    return (
        rf"(?:\\*{re.escape(letter)}|\\+(?:u00|x){hexadecimal}"
        rf"|%(?:25)*(?:u00)?{hexadecimal}|&(?:amp;)*(?:{entity});?)"
    )


@cache
def _names() -> dict[str, list[str]]:
    """Map each character to its HTML names, without `;`."""
    from html.entities import html5

    names: dict[str, list[str]] = {}
    for name, text in html5.items():
        names.setdefault(text, []).append(name.removesuffix(";"))
    return names
