"""Distract: another author's thinking lands in the middle of one's own.

Source: the Recoverability test, paper §2.1 and App. E.1.
"""

from pydantic import Field, field_validator

from collab import Close, Decision, Insert, Length, Settings, Share, View, Write, Writer


class Distractor(Settings):
    """Play `main`'s own opening, put the steer of `distractor` behind it, let `main` go on.

    The paper's setting: `at` one of 0, .2, .4, .6, .8; `length` .2; the phrase "Wait. Let me
    think". An opening without a recording for `distractor` is the control: nothing is inserted.
    """

    main: Writer = "main"
    distractor: Writer = "distractor"
    at: float = Field(default=0.0, ge=0, le=1)
    """Where the steer goes in: share of the original's tokens, at the nearest sentence end."""
    length: float = Field(default=0.2, gt=0, le=1)
    """How much of the distractor's own trace is used: share of its tokens."""
    steer_tokens: int | None = Field(default=None, ge=1)
    """Overrides `length` by a number of tokens."""
    phrase: str = "Wait. Let me think.\n"
    """Stands on a new line before the steer; empty for none."""

    @field_validator("phrase")
    @classmethod
    def _ends_in_no_space(cls, phrase: str) -> str:
        if phrase.endswith(" "):
            raise ValueError(
                f"phrase {phrase!r} ends in a space, which splits the next word's token"
            )
        return phrase

    async def decide(self, view: View) -> Decision:
        """Follow the script of the opening, then leave the pen with `main`."""
        if view.closed_by:
            return Close(self.main, why="main closed its thinking")
        script = self._script(view)
        if view.step < len(script):
            return script[view.step]
        return Write(self.main, why="main goes on")

    def _script(self, view: View) -> list[Decision]:
        script: list[Decision] = []
        if self.at:
            script.append(Write(self.main, Share(of=self.at), why=f"own opening to {self.at:.0%}"))
        if self.distractor not in view.recordings:
            return script
        if self.phrase:
            script.append(
                Insert(self.distractor, self._joined(view), why="transition to the steer")
            )
        length = Length(tokens=self.steer_tokens) if self.steer_tokens else Share(of=self.length)
        script.append(Write(self.distractor, length, why="the steer"))
        return script

    def _joined(self, view: View) -> str:
        thinking = view.trajectory.thinking
        return ("\n" if thinking and not thinking.endswith("\n") else "") + self.phrase
