"""Force an answer: play a share of another's thinking, then have the answer at once.

What is solved so was given away: the answer stood in the share, or took no thinking.
"""

from pydantic import Field

from collab import Close, Decision, Settings, Share, View, Write, Writer


class ForceAnswer(Settings):
    """Play the first share of `guide`'s recording, then let `main` answer without thinking.

    An opening without a recording for `guide` is the control: `main` answers straight away.
    """

    main: Writer = "main"
    guide: Writer = "guide"
    length: float = Field(default=0.2, gt=0, le=1)
    """How much of the guide's trace is given: share of its tokens, at the nearest sentence end."""

    async def decide(self, view: View) -> Decision:
        """Play the guide's part if there is one, and close."""
        if view.step == 0 and self.guide in view.recordings:
            return Write(
                self.guide, Share(of=self.length), why=f"the guide's first {self.length:.0%}"
            )
        return Close(self.main, why="nothing is thought before the answer")
