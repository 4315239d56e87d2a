"""Recoverability: can a model come back from a distracting steer?

Source: paper §2.1, App. E.1.

A correct solo trajectory is cut at an insertion point, the begin of a trajectory on another
question is put behind it, and the model goes on. Two controls stand beside every rate: the same
opening without a steer, and with a placebo (as much text of another correct trajectory on the same
question, behind the same phrase).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from collab.boundary import cut_at_share, first_paragraph
from collab.engine import Case, Label
from collab.policy import Policy
from collab.scenario import Bank, Note, rank, with_factors
from collab.settings import Settings
from collab.trajectory import Question, Recording

Point = Annotated[float, Field(ge=0, le=1)]
Control = Literal["none", "placebo"]


@dataclass(frozen=True, slots=True)
class _Original:
    """A correct trajectory to disturb."""

    question: Question
    solo: Recording


class Recoverability(Settings):
    """Disturb `originals` correct trajectories of `main` at each of `points`.

    The paper's setting: 8 samples, 200 originals, 50 distractors, points 0 to .8, steer length .2.
    """

    by: ClassVar[str] = "at"

    main: str = "main"
    distractor: str = "distractor"
    """The seat whose recording is the steer."""
    source: str | None = None
    """The seat whose bank the distractors come from; None: `main` distracts itself."""
    samples: int = Field(default=8, ge=2)
    """Solo draws a question."""
    originals: int = Field(default=200, ge=1)
    distractors: int = Field(default=50, ge=2)
    points: Annotated[tuple[Point, ...], Field(min_length=1)] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """Insertion points: shares of the original's tokens."""
    length: float = Field(default=0.2, gt=0, le=1)
    """Share of the distractor's own trace that is the steer."""
    keep_first_paragraph: bool = False
    """Whether the original's first paragraph stands before the steer at every point (Table 7)."""
    controls: tuple[Control, ...] = ("none", "placebo")

    @model_validator(mode="after")
    def _room_for_the_steer(self) -> Self:
        beyond = [f"{at:g}" for at in self.points if at + self.length > 1 + 1e-9]
        if beyond:
            raise ValueError(
                f"insertion point {', '.join(beyond)} + steer length {self.length:g} is more than "
                "1: the opening would be longer than a trajectory; with this length, "
                f"points up to {1 - self.length:g} are allowed"
            )
        return self

    def solos(self) -> Mapping[str, int]:
        """Ask for the bank of the main seat, and of the distractors' source."""
        return dict.fromkeys((self.main, self.source or self.main), self.samples)

    def most(self, questions: int) -> int:
        """Return how many cases there are at most."""
        originals = min(self.originals, questions * self.samples)
        return originals * len(self.points) * (1 + len(self.controls))

    def factors(self) -> Mapping[str, object]:
        """Set who thinks, whose recording is the steer, where it goes in and how long it is."""
        return self._factors(self.points[0], None)

    def _factors(self, at: float, steer_tokens: int | None) -> dict[str, object]:
        factors = {"main": self.main, "distractor": self.distractor, "at": at}
        return {**factors, "length": self.length, "steer_tokens": steer_tokens}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Pair originals with distractors and cross them with points and controls."""
        tally: Counter[str] = Counter()
        async for original, rival in self._pairs(bank, tally):
            cuts = distinct_cuts(original.solo, self.points, self._least(original.solo))
            tally["merged"] += len(self.points) - len(cuts)
            placebo = self._placebo(bank, original)
            tally["bare"] += placebo is None
            for at in cuts:
                async for case in self._arms(bank, policy, original, rival, placebo, at):
                    yield case
        yield Note(f"{tally['pairs']} originals, {tally['distractors']} distractors")
        alone = tally["originals"] - tally["pairs"]
        yield Note(f"{alone} originals without a distractor that answers otherwise")
        yield Note(
            f"{tally['merged']} insertion points merged with a nearer one (the same sentence end)"
        )
        if "placebo" in self.controls:
            yield Note(f"{tally['bare']} originals without another correct sample for the placebo")

    async def _pairs(
        self, bank: Bank, tally: Counter[str]
    ) -> AsyncIterator[tuple[_Original, _Original]]:
        """Give each original its distractor, a block of as many as there are distractors a time."""
        pool = [one async for one in self._pool(bank)]
        used: Counter[int] = Counter()
        async for block in _blocks(self._originals(bank), max(len(pool), 1)):
            tally["originals"] += len(block)
            for pair in _pair(block, pool, await _fitting(bank, block, pool), used):
                yield pair
        tally["pairs"], tally["distractors"] = used.total(), len(+used)

    def _least(self, solo: Recording) -> float:
        """Return the share of an original that stands before the steer at every point."""
        return first_paragraph(solo).share if self.keep_first_paragraph else 0.0

    def _originals(self, bank: Bank) -> AsyncIterator[_Original]:
        """Rank the correct trajectories of `main`."""
        return _spread(bank, self.main, "original", self.originals, lambda s: bool(s.correct))

    def _pool(self, bank: Bank) -> AsyncIterator[_Original]:
        """Rank the trajectories that may distract: whole ones, right or wrong."""
        seat = self.source or self.main
        return _spread(bank, seat, "distractor", self.distractors, lambda s: s.closed)

    def _placebo(self, bank: Bank, original: _Original) -> Recording | None:
        others = [
            solo
            for solo in bank.of(self.main, original.question)
            if solo.correct and solo.draw != original.solo.draw and solo.text.strip()
        ]
        return min(
            others, key=lambda solo: rank("placebo", original.solo.draw, solo.draw), default=None
        )

    async def _arms(
        self,
        bank: Bank,
        policy: Policy,
        original: _Original,
        rival: _Original,
        placebo: Recording | None,
        at: float,
    ) -> AsyncIterator[Case]:
        steer = cut_at_share(rival.solo, self.length)
        own, least = cut_at_share(original.solo, at), self._least(original.solo)
        point, place = at, f"{at:g}"
        if own.share < least:
            own, point, place = cut_at_share(original.solo, least), least, "paragraph"
        size = max(steer.tokens or round(steer.share * rival.solo.tokens), 1)
        labels: dict[str, Label] = {
            **original.question.labels,
            "at": at,
            "realised": round(own.share, 4),
            "solved": bank.solved(self.main, original.question),
            "pair": f"{original.question.id}/{original.solo.draw}/{place}",
            **await bank.leaks("own", original.question, original.solo.text[: own.chars]),
        }
        opening = {self.main: original.solo}
        played = with_factors(policy, **self._factors(point, None))
        yield Case(
            id=f"{labels['pair']}/{rival.question.id}/{rival.solo.draw}",
            question=original.question,
            policy=played,
            opening={**opening, self.distractor: rival.solo},
            labels={
                **labels,
                "arm": "steer",
                "steer_question": rival.solo.question,
                "steer_tokens": steer.tokens,
                "steer_realised": round(steer.share, 4),
                **await bank.leaks("steer", original.question, rival.solo.text[: steer.chars]),
            },
            rival=rival.solo.extracted,
        )
        if "none" in self.controls:
            yield Case(
                id=f"{labels['pair']}/none",
                question=original.question,
                policy=played,
                opening=opening,
                labels={**labels, "arm": "none"},
            )
        if "placebo" in self.controls and placebo is not None:
            yield Case(
                id=f"{labels['pair']}/placebo/{placebo.draw}/{size}",
                question=original.question,
                policy=with_factors(policy, **self._factors(point, size)),
                opening={**opening, self.distractor: placebo},
                labels={**labels, "arm": "placebo"},
            )


def distinct_cuts(recording: Recording, shares: Sequence[float], least: float = 0.0) -> list[float]:
    """Keep one share a distinct cut: the one nearest to what the cut realises.

    No cut leaves less than the share `least` of the recording before it.
    """
    best: dict[int, tuple[float, float]] = {}
    for share in shares:
        cut = cut_at_share(recording, max(share, least))
        off = abs(cut.share - share)
        if cut.chars not in best or off < best[cut.chars][0]:
            best[cut.chars] = (off, share)
    return sorted(share for _, share in best.values())


async def _spread(
    bank: Bank, seat: str, salt: str, most: int, fits: Callable[[Recording], bool]
) -> AsyncIterator[_Original]:
    """Rank a seat's trajectories: every question gives one before any gives a second."""
    groups: list[list[_Original]] = []
    async for question in bank.ready():
        solos = [solo for solo in bank.of(seat, question) if fits(solo) and solo.text.strip()]
        solos.sort(key=lambda solo: rank(salt, question.id, solo.draw))
        if solos:
            yield _Original(question, solos[0])
            groups.append([_Original(question, solo) for solo in solos[1:]])
        if len(groups) == most:
            return
    rounds = chain.from_iterable(zip_longest(*groups))
    for one in islice(filter(None, rounds), most - len(groups)):
        yield one


async def _blocks(items: AsyncIterator[_Original], size: int) -> AsyncIterator[list[_Original]]:
    """Gather items in blocks; the last may be smaller."""
    block: list[_Original] = []
    async for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


async def _fitting(
    bank: Bank, originals: Sequence[_Original], pool: Sequence[_Original]
) -> dict[int, list[int]]:
    """Return which of the pool each original may meet; one that may meet none is left out."""

    async def fitting(original: _Original) -> list[int]:
        differs = await asyncio.gather(*(_differs(bank, original, one) for one in pool))
        return [index for index, is_so in enumerate(differs) if is_so]

    found = await asyncio.gather(*map(fitting, originals))
    return {nth: indices for nth, indices in enumerate(found) if indices}


def _pair(
    originals: Sequence[_Original],
    pool: Sequence[_Original],
    fits: Mapping[int, Sequence[int]],
    used: Counter[int],
) -> Iterator[tuple[_Original, _Original]]:
    """Give originals a distractor each that fits, all used equally often.

    `used` counts how often each of the pool is used so far, and goes on counting.
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
    """Pass one original on from distractor to distractor, to one that is used at least 2 less."""
    came: dict[int, int] = {}  # distractor -> the original that could move to it
    ahead = [start]
    for here in ahead:
        if used[here] <= used[start] - 2:
            while here != start:
                nth = came[here]
                chosen[nth], here = here, chosen[nth]
                used[chosen[nth]] += 1
                used[here] -= 1
            return True
        for nth in (nth for nth, index in chosen.items() if index == here):
            for other in fits[nth]:
                if other != start and other not in came:
                    came[other] = nth
                    ahead.append(other)
    return False


async def _differs(bank: Bank, original: _Original, distractor: _Original) -> bool:
    """Say whether neither what a distractor's question asks for nor what it says solves this."""
    asked = original.question
    if asked.id == distractor.question.id:
        return False
    answers = dict.fromkeys((distractor.question.answer, distractor.solo.extracted))
    return not any([await bank.agrees(asked, answer) for answer in answers])
