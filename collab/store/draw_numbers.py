"""The numbers of an episode's draws."""

from __future__ import annotations

from collections import Counter

from collab.core.sampling import Request
from collab.store.draw_keys import fresh_draw, prompt_of


class DrawCounter:
    """Names a draw by its case, and by how often this episode asked this prompt.

    How the text is to be cut makes no other prompt of it: the seed is the same.
    """

    def __init__(self, case: str, first: int | None = None) -> None:
        """Begin to count; `first` is the draw to take of a prompt's first request, if given."""
        self._case, self._first = case, first
        self._asked: Counter[tuple[bytes, int, str]] = Counter()
        self._ahead: Counter[tuple[bytes, int, str]] = Counter()

    def __call__(self, request: Request) -> int:
        """Name the draw to take of a request."""
        prompt = prompt_of(request)
        nth = self._asked[prompt]
        self._asked[prompt] += 1
        self._ahead[prompt] += 1
        if self._first is not None and nth == 0:
            return self._first
        return fresh_draw(self._case, nth)

    def aside(self, name: str) -> DrawCounter:
        """Return numbers for one side question of the episode."""
        return DrawCounter(f"{self._case}/{name}")

    def ahead(self) -> DrawCounter:
        """Return numbers that go on from here, for what may never be used."""
        numbers = DrawCounter(self._case, self._first)
        numbers._asked = self._asked.copy()
        return numbers

    def catch_up(self, ahead: DrawCounter) -> None:
        """Count what was drawn ahead: it is used."""
        self._asked += ahead._ahead
