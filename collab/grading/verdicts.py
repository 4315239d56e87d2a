"""Keep judgements in a file that runs share.

The file is only a cache: if it cannot be used, answers are judged again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from collab.grading import Judgement

WAIT = 5.0
"""Seconds to wait for another process that writes."""
CHUNK = 500
"""Keys in one statement."""
log = logging.getLogger(__name__)


class Verdicts:
    """The judgements in one file; lookups and additions of the same time are batched."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: dict[bytes, asyncio.Future[Judgement | None]] = {}
        self._kept: dict[bytes, Judgement] = {}
        self._task: asyncio.Task[None] | None = None
        self._broken = False

    async def find(self, key: bytes) -> Judgement | None:
        """Return the judgement of a key; None if it is unknown."""
        if self._broken:
            return None
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
        found = self._asked[key]
        self._go()
        return await asyncio.shield(found)

    def keep(self, key: bytes, judgement: Judgement) -> None:
        """Add a judgement; it is written a moment later."""
        if not self._broken:
            self._kept[key] = judgement
            self._go()

    async def close(self) -> None:
        """Wait until all judgements are written."""
        if self._task is not None:
            await self._task

    def _go(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._exchange())

    async def _exchange(self) -> None:
        while self._asked or self._kept:
            asked, self._asked = self._asked, {}
            kept, self._kept = self._kept, {}
            found: Mapping[bytes, Judgement] = {}
            try:
                found = await asyncio.to_thread(_exchanged, self._path, [*asked], kept)
            except (sqlite3.Error, OSError, ValueError) as error:
                self._broken = True
                log.warning("verdicts are not kept: %s: %s", self._path, error)
            for key, waiting in asked.items():
                if not waiting.done():
                    waiting.set_result(found.get(key))


def _exchanged(
    path: Path, asked: Sequence[bytes], kept: Mapping[bytes, Judgement]
) -> dict[bytes, Judgement]:
    """Write the new judgements, and read the requested ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=WAIT)) as file, file:
        file.execute(
            "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, said TEXT NOT NULL)"
            " WITHOUT ROWID"
        )
        rows = ((key, json.dumps(asdict(judgement))) for key, judgement in kept.items())
        file.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?)", rows)
        return {key: Judgement(**json.loads(said)) for key, said in _found(file, asked)}


def _found(file: sqlite3.Connection, asked: Sequence[bytes]) -> Iterable[tuple[bytes, str]]:
    for start in range(0, len(asked), CHUNK):
        keys = asked[start : start + CHUNK]
        marks = ", ".join("?" * len(keys))
        yield from file.execute(f"SELECT key, said FROM verdicts WHERE key IN ({marks})", keys)
