"""Guide: a stronger author begins the thinking.

Source: the Guidability test, paper §2.2; answer forcing, App. E.3.
"""

from typing import Literal

from pydantic import Field

from collab import Close, Decision, Settings, Share, View, Write, Writer


class Guide(Settings):
    """Play the first share of `guide`'s recording, then let `main` go on.

    The paper's setting: `length` one of .2, .4, .6, .8 and no phrase between. An opening without a
    recording for `guide` is the control: `main` thinks alone.
    """

    main: Writer = "main"
    guide: Writer = "guide"
    length: float = Field(default=0.2, gt=0, le=1)
    """How much of the guide's trace is given: share of its tokens, at the nearest sentence end."""
    cut: Literal["sentence", "chunk"] = "sentence"
    """What the trace is cut behind: sentences, or the chunks of the paper's authors' code."""
    force: bool = False
    """Whether `main` answers at once: what is solved so was given away, or took no thinking."""

    async def decide(self, view: View) -> Decision:
        """Play the guide's part first, then leave the pen with `main`."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.step == 0 and self.guide in view.recordings:
            part = Share(of=self.length, by=self.cut)
            return Write(self.guide, part, why=f"the guide's first {self.length:.0%}")
        if self.force:
            return Close(self.main, why="nothing is thought before the answer")
        return Write(self.main, why=f"{self.main} goes on")
