"""The draw numbers of an episode."""

from __future__ import annotations

from collections import Counter

from collab.core.sampling import Request
from collab.store.draw_keys import fresh_draw, prompt_of


class DrawCounter:
    """Numbers an episode's draws by its case, and by how often it has asked the same prompt.

    Requests that differ only in where the text is cut count as the same prompt: their seeds are
    equal.
    """

    def __init__(self, case: str, first: int | None = None) -> None:
        """Start to count; `first` is the draw number for the first request of each prompt."""
        self._case, self._first = case, first
        self._asked: Counter[tuple[bytes, int, str]] = Counter()
        self._ahead: Counter[tuple[bytes, int, str]] = Counter()

    def __call__(self, request: Request) -> int:
        """Return the draw number for a request."""
        prompt = prompt_of(request)
        nth = self._asked[prompt]
        self._asked[prompt] += 1
        self._ahead[prompt] += 1
        if self._first is not None and nth == 0:
            return self._first
        return fresh_draw(self._case, nth)

    def for_side_question(self, name: str) -> DrawCounter:
        """Return a counter for one side question of the episode."""
        return DrawCounter(f"{self._case}/{name}")

    def ahead(self) -> DrawCounter:
        """Return a counter that continues this one, for prefetched draws that may stay unused."""
        numbers = DrawCounter(self._case, self._first)
        numbers._asked = self._asked.copy()
        return numbers

    def catch_up(self, ahead: DrawCounter) -> None:
        """Count the prefetched draws of `ahead`, which are used after all."""
        self._asked += ahead._ahead
