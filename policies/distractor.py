"""Distract: another author's thinking lands in the middle of one's own.

Source: the Recoverability test, paper §2.1 and App. E.1. What its reviewers asked for are settings:
several injections (`times`), and a steer that turns right (`corrector`).
"""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from collab import (
    Boundary,
    Close,
    Decision,
    Insert,
    Length,
    Sentence,
    Settings,
    Share,
    View,
    Write,
    Writer,
)


class Distractor(Settings):
    """Play `main`'s own opening, put the steer of `distractor` behind it, let `main` go on.

    The paper's setting: `at` one of 0, .2, .4, .6, .8; `length` .2; the phrase "Wait. Let me
    think". An opening without a recording for `distractor` is the control: nothing is inserted.
    """

    main: Writer = "main"
    distractor: Writer = "distractor"
    corrector: Writer | None = None
    """Whose recording stands behind the steer, where it has one: the steer turns right."""
    at: float = Field(default=0.0, ge=0, le=1)
    """Where the steer goes in: share of the original's tokens, at the nearest sentence end."""
    length: float = Field(default=0.2, gt=0, le=1)
    """How much of the distractor's own trace is used: share of its tokens."""
    steer_tokens: int | None = Field(default=None, ge=0)
    """Overrides `length` by a number of tokens; 0: the phrase alone."""
    phrase: str = "Wait. Let me think.\n"
    """Stands on a new line before the steer; empty for none."""
    cut: Literal["sentence", "chunk"] = "sentence"
    """What recordings are cut behind: sentences, or the chunks of the paper's authors' code."""
    times: int = Field(default=1, ge=1)
    """How often `distractor` takes the pen, each time for the next `length` of its trace."""
    between: Boundary = Sentence()
    """How far `main` goes on between two injections."""

    @field_validator("phrase")
    @classmethod
    def _ends_in_no_space(cls, phrase: str) -> str:
        if phrase.endswith(" "):
            raise ValueError(
                f"phrase {phrase!r} ends in a space, which splits the next word's token"
            )
        return phrase

    @model_validator(mode="after")
    def _turns_right_once(self) -> Self:
        if self.corrector is not None and self.times > 1:
            raise ValueError(
                f"a steer that turns right is injected once: times is {self.times}, and corrector "
                f"{self.corrector!r}; leave one of them out"
            )
        return self

    async def decide(self, view: View) -> Decision:
        """Follow the script of the opening, then leave the pen with `main`."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        script = self._script(view)
        if view.step < len(script) and not self._is_over(view):
            return script[view.step]
        return Write(self.main, why=f"{self.main} goes on")

    def _is_over(self, view: View) -> bool:
        """Say whether a further injection would find nothing left of the distractor's trace."""
        return self.times > 1 and self.distractor in view.exhausted

    def _script(self, view: View) -> list[Decision]:
        script: list[Decision] = []
        if self.at:
            own = Share(of=self.at, by=self.cut)
            script.append(Write(self.main, own, why=f"own opening to {self.at:.0%}"))
        if self.distractor not in view.recordings:
            return script
        for nth in range(self.times):
            script += self._injection(view, nth)
        if self.corrector is not None and self.corrector in view.recordings:
            script.append(Write(self.corrector, self._steer(0), why="the steer turns right"))
        return script

    def _injection(self, view: View, nth: int) -> list[Decision]:
        script: list[Decision] = []
        if nth:
            script.append(Write(self.main, self.between, why=f"{self.main} goes on for a while"))
        if self.phrase:
            script.append(
                Insert(self.distractor, self._joined(view), why="transition to the steer")
            )
        if self.steer_tokens != 0:
            which = f"the steer, part {nth + 1}" if self.times > 1 else "the steer"
            script.append(Write(self.distractor, self._steer(nth), why=which))
        return script

    def _steer(self, nth: int) -> Boundary:
        if self.steer_tokens:
            return Length(tokens=self.steer_tokens, by=self.cut)
        return Share(of=min(self.length * (nth + 1), 1.0), by=self.cut)

    def _joined(self, view: View) -> str:
        thinking = view.trajectory.thinking
        return ("\n" if thinking and not thinking.endswith("\n") else "") + self.phrase
