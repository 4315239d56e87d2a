"""Pass on a streamed text, holding back what may be the beginning of the API key."""

from __future__ import annotations

from collections.abc import Callable

from collab.endpoints.veil import SecretFinder


class KeyFilter:
    """Hands on a text as it comes, but for an end that may turn out to be a key.

    Args:
        on_text: Is given the text.
        veil: Knows the keys.
    """

    def __init__(self, on_text: Callable[[str], None], veil: SecretFinder) -> None:
        self._on_text, self._veil = on_text, veil
        self._waiting = ""

    def add(self, text: str) -> bool:
        """Pass on the text that cannot be part of the key; return False once the key appears."""
        whole = self._waiting + text
        if self._veil.holds(whole):
            return False
        end = len(whole) - self._veil.beginning(whole)
        self._waiting = whole[end:]
        if end:
            self._on_text(whole[:end])
        return True

    def finish(self) -> None:
        """Hand on the rest: the text is over, and no key."""
        if self._waiting:
            self._on_text(self._waiting)
