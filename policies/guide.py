"""Guide: a stronger model begins the thinking.

Source: the Guidability test, paper §2.2; answer forcing, App. E.3.
"""

from typing import Literal

from pydantic import Field

from collab import Close, Decision, Settings, Share, View, Write, Writer


class Guide(Settings):
    """Play the first share of the guide's recording, then let `main` continue.

    The paper uses `length` 0.2, 0.4, 0.6 and 0.8 and no phrase in between. An opening without a
    recording for `guide` is the control: `main` thinks on its own.
    """

    main: Writer = "main"
    """Seat that is guided, continues and answers."""
    guide: Writer = "guide"
    """Seat whose recording opens the thinking."""
    length: float = Field(default=0.2, gt=0, le=1)
    """Length of the guide's part: share of its recording's tokens, moved to the nearest sentence
    end. The scenario sets it."""
    cut: Literal["sentence", "chunk"] = "sentence"
    """Where the recording is cut: at sentence ends, or at the chunks of the paper's code. The
    scenario sets it."""
    force: bool = False
    """Whether `main` answers directly after the guide's part. A question solved so was given away,
    or needs no thinking. The scenario sets it."""

    async def decide(self, view: View) -> Decision:
        """Play the guide's part first, then let `main` write."""
        if view.closed_by:
            return Close(self.main, why=f"{self.main} closed its thinking")
        if view.step == 0 and self.guide in view.recordings:
            until = Share(of=self.length, by=self.cut)
            return Write(self.guide, until, why=f"the guide's first {self.length:.0%}")
        if self.force:
            return Close(self.main, why="the answer is forced without further thinking")
        return Write(self.main, why=f"{self.main} continues")
