"""Select the trajectories of a bank: the originals, and those that distract.

Both are ranked only by content, so the selection never depends on which draws finish first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from statistics import quantiles

from collab.core.boundary import (
    Cutting,
    chunk_ends,
    cut_at_share,
    cut_through,
    first_paragraph,
    part,
)
from collab.core.trajectory import Question, Recording
from collab.scenarios.base import Bank, rank

Fits = Callable[[Question, Recording], bool]


@dataclass(frozen=True, slots=True)
class SoloTrajectory:
    """A solo trajectory with its question."""

    question: Question
    solo: Recording


async def spread(
    bank: Bank, seat: str, salt: str, most: int, fits: Fits
) -> AsyncIterator[SoloTrajectory]:
    """Rank a seat's trajectories: one of every question before a second of any question."""
    groups: list[list[SoloTrajectory]] = []
    async for question in bank.ready():
        solos = fitting(bank, seat, salt, question, fits)
        if solos:
            yield solos[0]
            groups.append(solos[1:])
        if len(groups) == most:
            return
    rounds = chain.from_iterable(zip_longest(*groups))
    for one in islice(filter(None, rounds), most - len(groups)):
        yield one


async def levelled(
    bank: Bank, seat: str, salt: str, most: int, fits: Fits
) -> AsyncIterator[SoloTrajectory]:
    """Draw one trajectory of each of `most` questions, with all solve counts equally frequent.

    The weight of a question is the inverse of the number of questions with its solve count (the
    paper's authors' code). The draw is without replacement: each question gets an exponential
    waiting time with its weight as rate.
    """
    first: list[SoloTrajectory] = []
    async for question in bank.ready():
        first += fitting(bank, seat, salt, question, fits)[:1]
    peers = Counter(bank.solved(seat, one.question) for one in first)
    first.sort(key=lambda one: _wait(salt, one) * peers[bank.solved(seat, one.question)])
    for one in first[:most]:
        yield one


def fitting(
    bank: Bank, seat: str, salt: str, question: Question, fits: Fits
) -> list[SoloTrajectory]:
    """Rank a seat's trajectories on a question that is ready."""
    found = [one for one in bank.of(seat, question) if fits(question, one) and one.text.strip()]
    found.sort(key=lambda solo: rank(salt, question.id, solo.draw))
    return [SoloTrajectory(question, solo) for solo in found]


def _wait(salt: str, one: SoloTrajectory) -> float:
    """Return an exponential waiting time that depends only on content."""
    number = int.from_bytes(rank("wait", salt, one.question.id), "big")
    return -math.log((number + 1) / 2**64)


def long_ones(
    pool: Iterable[SoloTrajectory], originals: Sequence[SoloTrajectory]
) -> list[SoloTrajectory]:
    """Keep the trajectories longer than 80 % of the originals, cut where 90 % of the originals end.

    Lengths are in chunks (the paper's authors' code).
    """
    counts = [len(list(chunk_ends(one.solo.text))) for one in originals]
    tenths = quantiles(counts, n=10, method="inclusive") if len(counts) > 1 else counts * 9
    least, most = int(tenths[7]), max(int(tenths[8]), 1)
    kept = []
    for one in pool:
        ends = list(chunk_ends(one.solo.text))
        if len(ends) >= least:
            last = cut_through(one.solo, ends[min(most, len(ends)) - 1])
            kept.append(replace(one, solo=part(one.solo, cut_at_share(one.solo, 0), last)))
    return kept


def without_first_paragraph(one: SoloTrajectory) -> SoloTrajectory:
    """Remove the first paragraph of a trajectory, unless it is the only one."""
    begin = first_paragraph(one.solo)
    rest = part(one.solo, begin, cut_through(one.solo, len(one.solo.text)))
    return replace(one, solo=rest) if rest.text.strip() else one


def distinct_cuts(
    recording: Recording,
    shares: Sequence[float],
    least: float = 0.0,
    by: Cutting = "sentence",
) -> list[float]:
    """Return one share per distinct cut: the share nearest to the realised one.

    Every cut keeps at least the share `least` of the recording.
    """
    best: dict[int, tuple[float, float]] = {}
    for share in shares:
        cut = cut_at_share(recording, max(share, least), by=by)
        off = abs(cut.share - share)
        if cut.chars not in best or off < best[cut.chars][0]:
            best[cut.chars] = (off, share)
    return sorted(share for _, share in best.values())
