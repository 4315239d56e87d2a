"""Distract: insert part of another trajectory into a model's own thinking.

Source: the Recoverability test, paper §2.1 and App. E.1. Two variants that reviewers asked for are
settings: several injections (`times`), and a steer followed by a correct trajectory (`corrector`).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from collab import (
    Boundary,
    Close,
    Decision,
    Insert,
    InsertedText,
    Length,
    Sentence,
    Settings,
    Share,
    View,
    Write,
    Writer,
)


class Distractor(Settings):
    """Play main's own opening, insert the distractor's steer, and let `main` continue.

    The paper uses `at` 0, 0.2, 0.4, 0.6 and 0.8 with `length` 0.2. An opening without a recording
    for `distractor` is the control: nothing is inserted.
    """

    main: Writer = "main"
    """Seat that is distracted, continues and answers."""
    distractor: Writer = "distractor"
    """Seat whose recording is the steer."""
    corrector: Writer | None = None
    """Seat whose recording follows the steer, so that the steer turns right; None: no seat. The
    scenario sets it."""
    at: float = Field(default=0.0, ge=0, le=1)
    """Insertion point: share of the original's tokens, moved to the nearest sentence end. The
    scenario sets it."""
    length: float = Field(default=0.2, gt=0, le=1)
    """Length of the steer: share of the tokens of the distractor's recording."""
    steer_tokens: int | None = Field(default=None, ge=0)
    """Length of the steer (tokens), in place of `length`; 0: only the phrase is inserted; None:
    `length` counts."""
    phrase: InsertedText = "Wait. Let me think.\n"
    """Text inserted on a new line before the steer; empty: none."""
    cut: Literal["sentence", "chunk"] = "sentence"
    """Where recordings are cut: at sentence ends, or at the chunks of the paper's code. The
    scenario sets it."""
    times: int = Field(default=1, ge=1)
    """Injections; each plays the next `length` of the distractor's recording."""
    between: Boundary = Sentence()
    """Where main's unit between two injections ends."""

    @model_validator(mode="after")
    def _corrects_one_injection(self) -> Self:
        if self.corrector is not None and self.times > 1:
            raise ValueError(
                f"a corrected steer is injected once, but times is {self.times} and corrector is "
                f"{self.corrector!r}; leave one of them out"
            )
        return self

    async def decide(self, view: View) -> Decision:
        """Carry out the opening decision by decision, then let `main` write."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        opening = self._opening(view)
        if view.step < len(opening) and not self._used_up(view):
            return opening[view.step]
        return Write(self.main, why=f"{self.main} continues")

    def _used_up(self, view: View) -> bool:
        """Check whether nothing of the distractor's recording is left for a further injection."""
        return self.times > 1 and self.distractor in view.exhausted

    def _opening(self, view: View) -> list[Decision]:
        """List the decisions of the opening in order."""
        opening: list[Decision] = []
        if self.at:
            own = Share(of=self.at, by=self.cut)
            opening.append(Write(self.main, own, why=f"own opening to {self.at:.0%}"))
        if self.distractor not in view.recordings:
            return opening
        for nth in range(self.times):
            opening += self._injection(view, nth)
        if self.corrector is not None and self.corrector in view.recordings:
            opening.append(Write(self.corrector, self._end(0), why="the steer turns right"))
        return opening

    def _injection(self, view: View, nth: int) -> list[Decision]:
        injection: list[Decision] = []
        if nth:
            injection.append(Write(self.main, self.between, why=f"{self.main} continues"))
        if self.phrase:
            text = view.on_new_line(self.phrase)
            injection.append(Insert(self.distractor, text, why="transition to the steer"))
        if self.steer_tokens != 0:
            why = f"the steer, part {nth + 1}" if self.times > 1 else "the steer"
            injection.append(Write(self.distractor, self._end(nth), why=why))
        return injection

    def _end(self, nth: int) -> Boundary:
        """Return where a part of the steer ends in its recording."""
        if self.steer_tokens:
            return Length(tokens=self.steer_tokens, by=self.cut)
        return Share(of=min(self.length * (nth + 1), 1.0), by=self.cut)
