"""Guidability: can a model build on a stronger one's correct begin?

Source: paper §2.2.

On questions that `main` solves at most once in its solo draws, the first share of a guide's correct
trajectory opens the thinking, and the model goes on. Beside every guided episode stands a fresh
unguided draw of the same question, for a question that failed by bad luck would be solved at times
without any guide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from collab.boundary import cut_at_share
from collab.engine import Case, Label
from collab.policy import Policy
from collab.scenario import Bank, Note, rank, with_factors
from collab.scenarios.recoverability import distinct_cuts
from collab.settings import Settings
from collab.trajectory import Question, Recording

Share = Annotated[float, Field(gt=0, le=1)]


class Guidability(Settings):
    """Open hard questions with a share of each guide's correct trajectories.

    The paper's setting: 8 samples, solved at most once, shares .2 to .8, three guides.
    """

    by: ClassVar[str] = "length"

    main: str = "main"
    guides: Annotated[tuple[str, ...], Field(min_length=1)] = ("guide",)
    """The seats that guide, each with a model of its own."""
    samples: int = Field(default=8, ge=1)
    """Solo draws a question."""
    solved_at_most: int = Field(default=1, ge=0)
    """Questions that `main` solves more often are left out."""
    correct_traces_per_guide: int = Field(default=1, ge=1)
    """How many of a guide's correct trajectories open each question."""
    lengths: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.2, 0.4, 0.6, 0.8)
    """Shares of the guide's trajectory that are given."""
    controls: tuple[Literal["none"], ...] = ("none",)

    def solos(self) -> Mapping[str, int]:
        """Ask for the banks of the main seat and of every guide."""
        return dict.fromkeys((self.main, *self.guides), self.samples)

    def most(self, questions: int) -> int:
        """Return how many cases there are at most."""
        steers = len(self.guides) * self.correct_traces_per_guide * len(self.lengths)
        return questions * steers * (1 + len(self.controls))

    def factors(self) -> Mapping[str, object]:
        """Set who thinks, who guides and how much of it."""
        return {"main": self.main, "guide": self.guides[0], "length": self.lengths[0]}

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        """Cross hard questions with guides, their traces and the shares."""
        asked = hard = unguided = 0
        async for question in bank.ready():
            asked += 1
            if bank.solved(self.main, question) > self.solved_at_most:
                continue
            hard += 1
            steers = list(self._steers(bank, question))
            unguided += not steers
            for nth, steer in enumerate(steers):
                async for case in self._arms(bank, policy, question, *steer, nth):
                    yield case
        yield Note(
            f"{hard} of {asked} questions solved at most {self.solved_at_most} of {self.samples} "
            f"times by {self.main}"
        )
        yield Note(f"{unguided} of them left out: no guide has a correct trajectory")

    def _steers(self, bank: Bank, question: Question) -> Iterator[tuple[str, Recording, float]]:
        for guide in self.guides:
            correct = [s for s in bank.of(guide, question) if s.correct and s.text.strip()]
            correct.sort(key=lambda solo: rank("guide", solo.draw))
            for trace in correct[: self.correct_traces_per_guide]:
                for length in distinct_cuts(trace, self.lengths):
                    yield guide, trace, length

    async def _arms(
        self,
        bank: Bank,
        policy: Policy,
        question: Question,
        guide: str,
        trace: Recording,
        length: float,
        nth: int,
    ) -> AsyncIterator[Case]:
        cut = cut_at_share(trace, length)
        labels: dict[str, Label] = {
            **question.labels,
            "length": length,
            "guide": guide,
            "steer_kind": trace.kind,
            "solved": bank.solved(self.main, question),
            "pair": f"{question.id}/{nth}",
        }
        played = with_factors(policy, main=self.main, guide=guide, length=length)
        yield Case(
            id=f"{question.id}/{trace.model}/{trace.draw}/{length:g}",
            question=question,
            policy=played,
            opening={guide: trace},
            labels={
                **labels,
                "arm": "steer",
                "realised": round(cut.share, 4),
                "steer_tokens": cut.tokens,
                **await bank.leaks("steer", question, trace.text[: cut.chars]),
            },
        )
        if "none" in self.controls:
            yield Case(
                id=f"{question.id}/unguided/{nth}",
                question=question,
                policy=played,
                labels={**labels, "arm": "none"},
            )
