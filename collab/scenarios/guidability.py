"""Guidability: can a model build on the correct beginning of a stronger model's trajectory?

Source: paper §2.2, App. E.2, E.3, F.

The questions are those that `main` solves at most once in its solo draws. The first share of a
guide's correct trajectory opens the thinking, and the model continues. There are two controls for
every guided episode. One is a fresh draw without a guide, because a question that failed by bad
luck is sometimes solved without one. The other forces the answer directly after the guide's text,
because a question that is solved so was given away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from collab.core.boundary import Cutting, cut_at_share
from collab.core.design import Design
from collab.core.policy import Policy
from collab.core.settings import Settings
from collab.core.trajectory import Question, Recording
from collab.episode.engine import Case
from collab.scenarios.base import Bank, Note, rank, with_factors
from collab.scenarios.selection import distinct_cuts

PrefixShare = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, slots=True)
class _Steer:
    """A share of a guide's trajectory."""

    guide: str
    trace: Recording
    length: float


@dataclass
class _Tally:
    """Counts of the questions and trajectories that the cases use."""

    asked: int = 0
    hard: int = 0
    unguided: int = 0
    by_all: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    """Correct solo draws by seat, over all questions."""


class Guidability(Settings):
    """Open hard questions with a share of each guide's correct trajectories.

    The paper's setting: 8 samples, solved at most once, shares .2 to .8, three guides.
    """

    by: ClassVar[str] = "length"

    main: str = "main"
    """The seat that is guided."""
    guides: Annotated[tuple[str, ...], Field(min_length=1)] = ("guide",)
    """The seats that guide; each has a model of its own."""
    teacher: str | None = None
    """The guide whose samples `main` was trained on; it is compared with the other guides."""
    samples: int = Field(default=8, ge=1)
    """Solo draws per question."""
    solved_at_least: int = Field(default=0, ge=0)
    """Leave out questions that `main` solves less often; equal to `samples`: App. E.2."""
    solved_at_most: int = Field(default=1, ge=0)
    """Leave out questions that `main` solves more often."""
    traces: Literal["correct", "wrong"] = "correct"
    """Which of a guide's trajectories to use; wrong ones are steers of poor quality."""
    correct_traces_per_guide: int = Field(default=1, ge=1)
    """Trajectories of each guide per question."""
    lengths: Annotated[tuple[PrefixShare, ...], Field(min_length=1)] = (0.2, 0.4, 0.6, 0.8)
    """Shares of the guide's trajectory."""
    cut: Cutting = "sentence"
    """Where trajectories may be cut."""
    controls: tuple[Literal["none", "forced"], ...] = ("none", "forced")
    """Controls to play: unguided draws, and answers forced after the guide's part; []: none."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.solved_at_least <= self.solved_at_most:
            raise ValueError(
                f"solved_at_least {self.solved_at_least} is more than solved_at_most "
                f"{self.solved_at_most}; set solved_at_least to the lower count"
            )
        if self.teacher is not None and self.teacher not in self.guides:
            raise ValueError(
                f"teacher {self.teacher!r} is not in guides ({', '.join(self.guides)}); set it to "
                "one of them, or to null"
            )
        return self

    def solos(self) -> dict[str, int]:
        """Ask for the banks of the main seat and of every guide."""
        return dict.fromkeys((self.main, *self.guides), self.samples)

    def most(self, questions: int, policy: Policy) -> int:
        """Return the largest number of cases."""
        steers = len(self.guides) * self.correct_traces_per_guide * len(self.lengths)
        return questions * steers * (1 + len(self.controls))

    def factors(self) -> dict[str, object]:
        """Set the main seat, the guide and the share."""
        return self._factors(self.guides[0], self.lengths[0])

    def _factors(self, guide: str, length: float, *, force: bool = False) -> dict[str, object]:
        factors: dict[str, object] = {"main": self.main, "guide": guide, "length": length}
        if self.cut != "sentence":
            factors["cut"] = self.cut
        return {**factors, "force": True} if force else factors

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Cross hard questions with guides, their trajectories and the shares."""
        tally = _Tally()
        async for question in bank.ready():
            tally.asked += 1
            for seat in self.solos():
                tally.alone[seat] += bank.solved(seat, question)
            if self.solved_at_least <= bank.solved(self.main, question) <= self.solved_at_most:
                async for case in self._of(bank, policy, question, tally):
                    yield case
        for note in self._notes(tally):
            yield note

    async def _of(
        self, bank: Bank, policy: Policy, question: Question, tally: _Tally
    ) -> AsyncIterator[Case]:
        """Yield the cases of one hard question."""
        traces = {guide: self._traces(bank, guide, question) for guide in self.guides}
        by_all = all(traces.values())
        tally.hard += 1
        tally.unguided += not any(traces.values())
        tally.by_all += by_all
        tally.problems.update(guide for guide, of in traces.items() if of)
        tally.traces.update({guide: len(of) for guide, of in traces.items()})
        solved = bank.solved(self.main, question)
        for nth, steer in enumerate(self._steers(traces)):
            design = Design(
                solved=solved,
                pair=f"{question.id}/{nth}",
                length=steer.length,
                guide=steer.guide,
                trace=steer.trace.draw,
                steer_kind=steer.trace.kind,
                teacher=self._teacher(steer.guide),
                by_all_guides=by_all,
            )
            async for case in self._arms(bank, policy, question, steer, design, nth):
                yield case

    def _teacher(self, guide: str) -> str | None:
        if self.teacher is None:
            return None
        return "own" if guide == self.teacher else "other"

    def _traces(self, bank: Bank, guide: str, question: Question) -> list[Recording]:
        wanted = self.traces == "correct"
        found = [
            solo
            for solo in bank.of(guide, question)
            if bool(solo.correct) == wanted and (wanted or solo.closed) and solo.text.strip()
        ]
        found.sort(key=lambda solo: rank("guide", solo.draw))
        return found[: self.correct_traces_per_guide]

    def _steers(self, traces: dict[str, list[Recording]]) -> Iterator[_Steer]:
        for guide, of in traces.items():
            for trace in of:
                for length in distinct_cuts(trace, self.lengths, by=self.cut):
                    yield _Steer(guide, trace, length)

    async def _arms(
        self,
        bank: Bank,
        policy: Policy,
        question: Question,
        steer: _Steer,
        design: Design,
        nth: int,
    ) -> AsyncIterator[Case]:
        guide, trace, length = steer.guide, steer.trace, steer.length
        cut = cut_at_share(trace, length, by=self.cut)
        played = with_factors(policy, **self._factors(guide, length))
        leak = await bank.leak(question, trace.text[: cut.chars])
        name = f"{question.id}/{trace.model}/{trace.draw}/{length:g}"
        yield Case(
            id=name,
            question=question,
            policy=played,
            opening={guide: trace},
            design=replace(
                design,
                arm="steer",
                realised=round(cut.share, 4),
                steer_tokens=cut.tokens,
                steer_holds_answer=leak.holds,
                steer_states_answer=leak.states,
            ),
            labels=question.labels,
        )
        if "none" in self.controls:
            yield Case(
                id=f"{question.id}/unguided/{nth}",
                question=question,
                policy=played,
                design=replace(design, arm="none"),
                labels=question.labels,
            )
        if "forced" in self.controls:
            yield Case(
                id=f"{name}/forced",
                question=question,
                policy=with_factors(policy, **self._factors(guide, length, force=True)),
                opening={guide: trace},
                design=replace(design, arm="forced"),
                labels=question.labels,
            )

    def _notes(self, tally: _Tally) -> Iterator[Note]:
        from_, to = self.solved_at_least, self.solved_at_most
        often = f"at most {to}" if not from_ else f"{from_} to {to}"
        yield Note(
            f"{tally.hard} of {tally.asked} questions are solved {often} of {self.samples} times "
            f"by {self.main}"
        )
        yield Note(f"{tally.unguided} of them left out: no guide has a {self.traces} trajectory")
        for guide in self.guides:
            yield Note(
                f"{guide}: {tally.problems[guide]} problems, {tally.traces[guide]} trajectories"
            )
        if len(self.guides) > 1:
            yield Note(f"{tally.by_all} problems have a {self.traces} trajectory of every guide")
        own, drawn = tally.alone[self.main], tally.asked * self.samples
        for guide in self.guides:
            if drawn and tally.alone[guide] <= own:
                yield Note(
                    f"warning: {guide} is no stronger than {self.main}: alone, {guide} solves "
                    f"{tally.alone[guide] / drawn:.0%} of its draws, {self.main} {own / drawn:.0%}"
                )
