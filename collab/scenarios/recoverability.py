"""Recoverability: can a model recover from a distracting steer?

Source: paper §2.1, App. E.1.

A correct solo trajectory is cut at an insertion point and followed by the beginning of a trajectory
on another question. Then the model continues. Every rate has up to three controls: the same opening
without a steer, with the transition phrase only, and with a placebo (the phrase and as much text of
another correct trajectory on the same question).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from collab.core.boundary import Cut, Cutting, cut_at_share, first_paragraph
from collab.core.design import Design
from collab.core.policy import Policy
from collab.core.settings import Settings
from collab.core.trajectory import Question, Recording
from collab.episode.engine import Case
from collab.scenarios.base import Bank, Note, rank, with_factors
from collab.scenarios.pairs import paired
from collab.scenarios.selection import (
    SoloTrajectory,
    distinct_cuts,
    levelled,
    long_ones,
    spread,
    without_first_paragraph,
)
from collab.scenarios.steers import (
    FOREIGN,
    STRETCHES,
    UNCOUNTED,
    SteerKind,
    filler,
    given,
    similar,
    spoiled,
    stretch,
    thoughts,
    wrong,
)

InsertionPoint = Annotated[float, Field(ge=0, le=1)]
ONE_CHUNK = 1e-9
"""A share that keeps only the first chunk, whatever the number of chunks."""
Control = Literal["none", "phrase", "placebo"]


@dataclass(frozen=True, slots=True)
class _Place:
    """An original at one insertion point, with its steer and its placebo."""

    original: SoloTrajectory
    partner: SoloTrajectory
    own: Cut
    at: float
    """The insertion point that was asked for."""
    point: float
    """The insertion point that the policy gets: later if the first paragraph is kept."""
    name: str
    steer: Recording
    placebo: Recording | None


class Recoverability(Settings):
    """Disturb `originals` correct trajectories of `main` at each of `points`.

    The paper's setting: 8 samples, 200 originals, 50 distractors, points 0 to .8, steer length .2.
    """

    by: ClassVar[str] = "at"

    main: str = "main"
    """The seat that is disturbed."""
    distractor: str = "distractor"
    """The seat that plays the steer."""
    source: str | None = None
    """The seat whose solo draws are the distractors; None: those of `main`."""
    corrector: str | None = None
    """The seat that plays another correct trajectory after the steer, back to the question."""
    samples: int = Field(default=8, ge=2)
    """Solo draws per question."""
    solved_at_least: int = Field(default=1, ge=1)
    """Leave out questions that `main` solves less often. Equal to `samples` on the questions of a
    cohort: the paper's shared subset."""
    solved_at_most: int | None = Field(default=None, ge=1)
    """Leave out questions that `main` solves more often; None: no upper limit."""
    originals: int = Field(default=200, ge=1)
    """Correct trajectories to disturb."""
    drawn: Literal["questions", "solve counts"] = "questions"
    """Spread the originals over the questions, or draw them so that each solve count is equally
    frequent."""
    distractors: int = Field(default=50, ge=2)
    """Trajectories that disturb; each is used equally often."""
    pool: Literal["any", "long"] = "any"
    """`long`: only trajectories longer than 80 % of the originals, cut where 90 % of the originals
    end."""
    drop_first_paragraph: bool = False
    """Leave out the first paragraph of the distractor, which often names its question."""
    steer: SteerKind = "other"
    """What the steer consists of."""
    thoughts: Path | None = None
    """Required by `steer: given`: a JSON lines file of objects with `question` (an id, or its text)
    and `thought`."""
    points: Annotated[tuple[InsertionPoint, ...], Field(min_length=1)] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """Insertion points: shares of the original's tokens."""
    length: float = Field(default=0.2, gt=0, le=1)
    """Share of the distractor's trajectory that is the steer."""
    steer_tokens: int | None = Field(default=None, ge=1)
    """The length of the steer in tokens; overrides `length`."""
    keep_first_paragraph: bool = False
    """Keep the first paragraph of the original before the steer at every point (Table 7)."""
    cut: Cutting = "sentence"
    """Where recordings may be cut."""
    controls: tuple[Control, ...] = ("none", "placebo")
    """Controls to play: none, phrase or placebo; []: no control."""

    @model_validator(mode="after")
    def _room_for_the_steer(self) -> Self:
        beyond = [f"{at:g}" for at in self.points if at + self.length > 1 + 1e-9]
        if beyond and self.steer_tokens is None:
            raise ValueError(
                f"insertion point {', '.join(beyond)} + steer length {self.length:g} is more than "
                "1, so the opening would be longer than a trajectory; with this length, "
                f"set points up to {1 - self.length:g}"
            )
        return self

    @model_validator(mode="after")
    def _fits_the_steer(self) -> Self:
        if (self.steer == "given") != (self.thoughts is not None):
            raise ValueError(
                f"steer is {self.steer!r} and thoughts is {str(self.thoughts)!r}; steer 'given' "
                "needs a file of thoughts, and no other steer takes one"
            )
        if self.steer in UNCOUNTED and self.steer_tokens is not None:
            raise ValueError(
                f"steer {self.steer!r} is not a model's own tokens, so steer_tokens cannot be "
                "taken; set length instead"
            )
        if self.steer in STRETCHES and "phrase" in self.controls:
            raise ValueError(
                f"steer {self.steer!r} follows without a phrase, so there is no control with only "
                "the phrase; remove 'phrase' from controls"
            )
        most = self.samples if self.solved_at_most is None else self.solved_at_most
        if not self.solved_at_least <= most <= self.samples:
            raise ValueError(
                f"solved {self.solved_at_least} to {most} of {self.samples} times is not a range; "
                "set counts from 1 to samples, the lower one first"
            )
        return self

    def solos(self) -> Mapping[str, int]:
        """Ask for the bank of the main seat and of the distractors' source."""
        return dict.fromkeys((self.main, self.source or self.main), self.samples)

    def most(self, questions: int, policy: Policy) -> int:
        """Return the largest number of cases."""
        originals = min(self.originals, questions * self.samples)
        return originals * len(self.points) * (1 + len(self.controls))

    def factors(self) -> Mapping[str, object]:
        """Set the main seat, the distractor's seat, the insertion point and the steer length."""
        return self._factors(self.points[0], self.steer_tokens)

    def _factors(self, at: float, steer_tokens: int | None) -> dict[str, object]:
        factors: dict[str, object] = {"main": self.main, "distractor": self.distractor, "at": at}
        if self.corrector is not None:
            factors["corrector"] = self.corrector
        if self.cut != "sentence":
            factors["cut"] = self.cut
        if self.steer in STRETCHES:
            return {**factors, "length": 1.0, "steer_tokens": None, "phrase": ""}
        return {**factors, "length": self.length, "steer_tokens": steer_tokens}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Pair originals with distractors, and cross them with points and controls."""
        tally: Counter[str] = Counter()
        async for original, partner in self._pairs(bank, tally):
            shares = distinct_cuts(original.solo, self.points, self._least(original), self.cut)
            tally["merged"] += len(self.points) - len(shares)
            other = self._other(bank, original)
            tally["bare"] += other is None
            if other is None and self.corrector is not None:
                continue
            for at in shares:
                place = await self._place(bank, original, partner, other, at)
                if place.steer.text.strip():
                    async for case in self._arms(bank, policy, place, other):
                        yield case
        for note in self._notes(tally):
            yield note

    def _notes(self, tally: Counter[str]) -> list[Note]:
        distractors = f", {tally['distractors']} distractors" if self.steer in FOREIGN else ""
        alone = tally["originals"] - tally["pairs"]
        why = {
            "wrong": "a wrong trace on the same question",
            "given": "a thought in the file",
        }.get(self.steer, "a distractor with another answer")
        notes = [
            Note(f"{tally['pairs']} originals{distractors}"),
            Note(f"{alone} originals without {why}"),
            Note(
                f"{tally['merged']} insertion points merged with a nearer one "
                "(they cut at the same sentence)"
            ),
        ]
        if self.corrector is not None:
            notes.append(Note(f"{tally['bare']} originals left out: no other correct sample"))
        elif "placebo" in self.controls and self.steer not in STRETCHES:
            notes.append(
                Note(f"{tally['bare']} originals without another correct sample for the placebo")
            )
        return notes

    async def _pairs(
        self, bank: Bank, tally: Counter[str]
    ) -> AsyncIterator[tuple[SoloTrajectory, SoloTrajectory]]:
        """Yield each original with the trajectory that its steer is made of."""
        originals = self._originals(bank)
        if self.steer == "other" or self.steer == "noise":
            pool = await self._pool(bank)
            async for pair in paired(bank, originals, pool, tally):
                yield pair
            return
        pool = await self._pool(bank) if self.steer == "similar" else []
        used: set[tuple[str, int | None]] = set()
        async for original in originals:
            tally["originals"] += 1
            partner = await self._partner(bank, original, pool)
            if partner is not None:
                tally["pairs"] += 1
                used.add((partner.solo.question, partner.solo.draw))
                yield original, partner
        tally["distractors"] = len(used)

    async def _partner(
        self, bank: Bank, original: SoloTrajectory, pool: list[SoloTrajectory]
    ) -> SoloTrajectory | None:
        match self.steer:
            case "similar":
                return await similar(bank, original, pool)
            case "wrong":
                return wrong(bank, self.source or self.main, original)
            case "given":
                return given(self._thoughts, original)
            case "uninformative":
                return filler(original)
            case _:
                return original

    @cached_property
    def _thoughts(self) -> dict[str, str]:
        return thoughts(self.thoughts) if self.thoughts is not None else {}

    def _originals(self, bank: Bank) -> AsyncIterator[SoloTrajectory]:
        """Rank the correct trajectories of `main` on questions with an allowed solve count."""
        most = self.samples if self.solved_at_most is None else self.solved_at_most

        def fits(question: Question, solo: Recording) -> bool:
            often = self.solved_at_least <= bank.solved(self.main, question) <= most
            return often and bool(solo.correct)

        draw = spread if self.drawn == "questions" else levelled
        return draw(bank, self.main, "original", self.originals, fits)

    async def _pool(self, bank: Bank) -> list[SoloTrajectory]:
        """Rank the complete trajectories, right or wrong, that may distract."""
        seat = self.source or self.main
        if self.pool == "any":
            found = spread(bank, seat, "distractor", self.distractors, _is_whole)
            pool = [one async for one in found]
        else:
            everything = spread(bank, seat, "distractor", 2**31, _is_whole)
            originals = [one async for one in self._originals(bank)]
            pool = long_ones([one async for one in everything], originals)[: self.distractors]
        return [*map(without_first_paragraph, pool)] if self.drop_first_paragraph else pool

    def _least(self, original: SoloTrajectory) -> float:
        """Return the smallest share of an original that is kept before the steer."""
        if not self.keep_first_paragraph:
            return 0.0
        return first_paragraph(original.solo).share if self.cut == "sentence" else ONE_CHUNK

    def _other(self, bank: Bank, original: SoloTrajectory) -> Recording | None:
        """Return another correct trajectory on the original's question, or None."""
        others = [
            solo
            for solo in bank.of(self.main, original.question)
            if solo.correct and solo.draw != original.solo.draw and solo.text.strip()
        ]
        return min(
            others, key=lambda solo: rank("placebo", original.solo.draw, solo.draw), default=None
        )

    async def _place(
        self,
        bank: Bank,
        original: SoloTrajectory,
        partner: SoloTrajectory,
        other: Recording | None,
        at: float,
    ) -> _Place:
        own, least = cut_at_share(original.solo, at, by=self.cut), self._least(original)
        point, name = at, f"{at:g}"
        if own.share < least:
            own, name = cut_at_share(original.solo, least, by=self.cut), "paragraph"
            point = least
        steer, placebo = partner.solo, other
        if self.steer in STRETCHES:
            placebo = stretch(original, own, min(point + self.length, 1.0), self.cut)
            steer = spoiled(self.steer, placebo, partner)
        steer = await bank.measured(self.main, steer)
        return _Place(original, partner, own, at, point, name, steer, placebo)

    async def _arms(
        self, bank: Bank, policy: Policy, place: _Place, other: Recording | None
    ) -> AsyncIterator[Case]:
        question, solo = place.original.question, place.original.solo
        own = await bank.leak(question, solo.text[: place.own.chars])
        pair = f"{question.id}/{solo.draw}/{place.name}"
        design = Design(
            solved=bank.solved(self.main, question),
            pair=pair,
            at=place.at,
            realised=round(place.own.share, 4),
            original=solo.draw,
            steer=self.steer,
            own_holds_answer=own.holds,
            own_states_answer=own.states,
        )
        opening = {self.main: solo}
        played = with_factors(policy, **self._factors(place.point, self.steer_tokens))
        yield await self._steered(bank, played, place, other, design)
        if "none" in self.controls:
            yield Case(
                id=f"{pair}/none",
                question=question,
                policy=played,
                opening=opening,
                design=replace(design, arm="none"),
                labels=question.labels,
            )
        if "phrase" in self.controls:
            yield Case(
                id=f"{pair}/phrase",
                question=question,
                policy=with_factors(policy, **self._factors(place.point, 0)),
                opening={**opening, self.distractor: solo},
                design=replace(design, arm="phrase"),
                labels=question.labels,
            )
        if "placebo" in self.controls and place.placebo is not None:
            yield self._placebo(policy, place, place.placebo, design)

    async def _steered(
        self,
        bank: Bank,
        played: Policy,
        place: _Place,
        other: Recording | None,
        design: Design,
    ) -> Case:
        """Return the case with the steer."""
        question, steer = place.original.question, place.steer
        cut = self._cut(steer)
        opening = {self.main: place.original.solo, self.distractor: steer}
        if self.corrector is not None and other is not None:
            opening[self.corrector] = other
        leak = await bank.leak(question, steer.text[: cut.chars])
        return Case(
            id=f"{design.pair}/{self._named(place.partner)}",
            question=question,
            policy=played,
            opening=opening,
            design=replace(
                design,
                arm="steer",
                steer_question=place.partner.solo.question if self.steer in FOREIGN else None,
                steer_tokens=cut.tokens,
                steer_realised=round(cut.share, 4),
                steer_holds_answer=leak.holds,
                steer_states_answer=leak.states,
            ),
            labels=question.labels,
            rival=None if self.steer in STRETCHES else steer.extracted,
        )

    def _named(self, partner: SoloTrajectory) -> str:
        """Name a steer by its content."""
        turned = f"/{self.corrector}" if self.corrector is not None else ""
        if self.steer == "other":
            return f"{partner.question.id}/{partner.solo.draw}{turned}"
        if self.steer in FOREIGN:
            return f"{self.steer}/{partner.question.id}/{partner.solo.draw}{turned}"
        return f"{self.steer}/{partner.solo.model}/{partner.solo.draw}{turned}"

    def _placebo(self, policy: Policy, place: _Place, placebo: Recording, design: Design) -> Case:
        """Return the case with the placebo."""
        cut = self._cut(place.steer)
        size = None if self.steer in STRETCHES else max(_tokens(place.steer, cut, placebo), 1)
        return Case(
            id=f"{design.pair}/placebo/{placebo.draw}/{size or f'{self.length:g}'}",
            question=place.original.question,
            policy=with_factors(policy, **self._factors(place.point, size)),
            opening={self.main: place.original.solo, self.distractor: placebo},
            design=replace(design, arm="placebo"),
            labels=place.original.question.labels,
        )

    def _cut(self, steer: Recording) -> Cut:
        """Return the part of a recording that is the steer."""
        if self.steer in STRETCHES:
            return cut_at_share(steer, 1.0)
        if self.steer_tokens is None:
            return cut_at_share(steer, self.length, by=self.cut)
        share = min(self.steer_tokens / max(steer.tokens, 1), 1.0)
        return cut_at_share(steer, share, by=self.cut)


def _tokens(steer: Recording, cut: Cut, placebo: Recording) -> int:
    """Count the tokens of a steer; if unknown, those of as many characters of its placebo."""
    if cut.tokens or steer.tokens:
        return cut.tokens or round(cut.share * steer.tokens)
    return round(cut.chars * placebo.tokens / len(placebo.text))


def _is_whole(question: Question, solo: Recording) -> bool:
    return solo.closed
