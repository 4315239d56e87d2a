"""Pair originals with distractors that do not solve them; all are used equally often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from collab.scenarios.base import Bank, rank
from collab.scenarios.selection import SoloTrajectory


async def paired(
    bank: Bank,
    originals: AsyncIterator[SoloTrajectory],
    pool: Sequence[SoloTrajectory],
    tally: Counter[str],
) -> AsyncIterator[tuple[SoloTrajectory, SoloTrajectory]]:
    """Pair originals with distractors, in blocks of as many originals as there are distractors.

    `tally` counts the originals, the pairs and the distractors in use.
    """
    used: Counter[int] = Counter()
    async for block in _blocks(originals, max(len(pool), 1)):
        tally["originals"] += len(block)
        for pair in _pair(block, pool, await _fitting(bank, block, pool), used):
            yield pair
    tally["pairs"], tally["distractors"] = used.total(), len(+used)


async def differs(bank: Bank, original: SoloTrajectory, distractor: SoloTrajectory) -> bool:
    """Return whether a distractor leads to another answer: its question's and its own."""
    asked = original.question
    if asked.id == distractor.question.id:
        return False
    answers = dict.fromkeys((distractor.question.answer, distractor.solo.extracted))
    return not any([await bank.agrees(asked, answer) for answer in answers])


async def _blocks(
    items: AsyncIterator[SoloTrajectory], size: int
) -> AsyncIterator[list[SoloTrajectory]]:
    """Collect items in blocks; the last block may be smaller."""
    block: list[SoloTrajectory] = []
    async for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


async def _fitting(
    bank: Bank, originals: Sequence[SoloTrajectory], pool: Sequence[SoloTrajectory]
) -> dict[int, list[int]]:
    """Map each original to the distractors that fit it; leave out originals without any."""

    async def fitting(original: SoloTrajectory) -> list[int]:
        differ = await asyncio.gather(*(differs(bank, original, one) for one in pool))
        return [index for index, is_so in enumerate(differ) if is_so]

    found = await asyncio.gather(*map(fitting, originals))
    return {nth: indices for nth, indices in enumerate(found) if indices}


def _pair(
    originals: Sequence[SoloTrajectory],
    pool: Sequence[SoloTrajectory],
    fits: Mapping[int, Sequence[int]],
    used: Counter[int],
) -> Iterator[tuple[SoloTrajectory, SoloTrajectory]]:
    """Give each original a distractor that fits, using all equally often.

    `used` counts the uses of each distractor so far and is updated.
    """
    chosen: dict[int, int] = {}
    for nth, indices in fits.items():
        key = originals[nth].question.id, originals[nth].solo.draw
        chosen[nth] = min(indices, key=lambda at: (used[at], rank(*key, at)))
        used[chosen[nth]] += 1
    while any(_shift(index, chosen, fits, used) for index, _ in used.most_common()):
        pass
    for nth, index in chosen.items():
        yield originals[nth], pool[index]


def _shift(
    start: int, chosen: dict[int, int], fits: Mapping[int, Sequence[int]], used: Counter[int]
) -> bool:
    """Move one original along a chain of distractors to one with at least 2 fewer uses."""
    source: dict[int, int] = {}  # distractor -> the original that could move to it
    ahead = [start]
    for here in ahead:
        if used[here] <= used[start] - 2:
            while here != start:
                nth = source[here]
                chosen[nth], here = here, chosen[nth]
                used[chosen[nth]] += 1
                used[here] -= 1
            return True
        for nth in (nth for nth, index in chosen.items() if index == here):
            for other in fits[nth]:
                if other != start and other not in source:
                    source[other] = nth
                    ahead.append(other)
    return False
