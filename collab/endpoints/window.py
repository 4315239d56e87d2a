"""How many requests are under way at once: as many as allowed, fewer while the server refuses some.

Additive increase, multiplicative decrease: as many requests served as the window is wide make room
for one more; a refusal for being too busy halves it, once for all that were sent before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Window:
    """Places for requests, given out in order; who comes back from a pause is let in first."""

    most: int
    """Places there are where the server bears them."""
    under_way: int = 0
    _size: float = 0.0
    _halved: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque, repr=False)

    def __post_init__(self) -> None:
        self._size = float(self.most)

    @property
    def size(self) -> int:
        """Places there are now."""
        return int(self._size)

    @property
    def load(self) -> int:
        """Requests that have a place or wait for one."""
        return self.under_way + len(self._waiting)

    @asynccontextmanager
    async def place(self, *, first: bool = False) -> AsyncIterator[int]:
        """Wait for a place and hold it; yields the mark to give to `crowded`."""
        if self.under_way >= self.size or self._waiting:
            await self._wait(first)
        else:
            self.under_way += 1
        try:
            yield self._halved
        finally:
            self.under_way -= 1
            self._fill()

    def served(self) -> None:
        """Take note of a request that was served."""
        self._size = min(self.most, self._size + 1 / self._size)
        self._fill()

    def crowded(self, mark: int) -> None:
        """Take note of a request that was refused for being one too many."""
        if mark == self._halved:
            self._halved += 1
            self._size = max(1.0, self._size / 2)

    async def _wait(self, first: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was ours already
                self.under_way -= 1
                self._fill()
            raise

    def _fill(self) -> None:
        """Give free places to the waiting requests."""
        while self._waiting and self.under_way < self.size:
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)
