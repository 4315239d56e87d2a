"""The file of verdicts: shared, batched, and never in the way."""

import asyncio
import logging
from pathlib import Path

import pytest

from collab.grading import Judgement
from collab.grading.verdicts import CHUNK, Verdicts

RIGHT = Judgement("correct", True, True, "1", "hand")


async def test_what_one_keeps_another_finds(tmp_path: Path) -> None:
    one, other = (Verdicts(tmp_path / "new" / "verdicts.sqlite") for _ in range(2))
    assert await one.find(b"a") is None
    one.keep(b"a", RIGHT)
    await one.close()
    assert await other.find(b"a") == RIGHT
    assert await other.find(b"b") is None


async def test_more_keys_than_a_statement_takes_are_found_together(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "verdicts.sqlite")
    keys = [str(n).encode() for n in range(2 * CHUNK + 1)]
    for key in keys:
        verdicts.keep(key, RIGHT)
    assert await asyncio.gather(*map(verdicts.find, keys)) == [RIGHT] * len(keys)


async def test_a_file_that_is_none_is_said_once_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "verdicts.sqlite"
    file.write_text("no database " * 100)
    verdicts = Verdicts(file)
    with caplog.at_level(logging.WARNING):
        assert await verdicts.find(b"a") is None
        verdicts.keep(b"a", RIGHT)
        assert await verdicts.find(b"a") is None
        await verdicts.close()
    assert caplog.text.count("verdicts are not kept") == 1
    assert file.read_text().startswith("no database")
