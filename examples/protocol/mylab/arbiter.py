"""An arbiter chooses one of two drafts of each next step, and may leave the choice to a human."""

from collab import (
    Adviser,
    Boundary,
    Branch,
    Choose,
    Close,
    Decision,
    Fork,
    Sentence,
    Settings,
    Stop,
    View,
    Write,
    Writer,
)

QUESTION = "These are two next steps.\n\nA: {}\n\nB: {}\n\nWhich one is better? Answer A or B."
PASS = " If you cannot tell, answer C."


class OneStep(Settings):
    """Let `writer` write one unit; the policy of a branch."""

    writer: Writer
    until: Boundary
    before: int

    async def decide(self, view: View) -> Decision:
        if view.closed_by or len(view.units) > self.before:
            return Stop("the step is written")
        return Write(self.writer, self.until, why="a draft")


class Arbiter(Settings):
    """Let `first` and `second` draft each step; `arbiter` chooses one, or `human` if it cannot."""

    first: Writer = "main"
    second: Writer = "partner"
    arbiter: Adviser = "judge"
    human: Adviser | None = None
    until: Boundary = Sentence()

    async def decide(self, view: View) -> Decision:
        if view.memo == "drafted" and view.branches:
            return await self._choose(view)
        if view.closed_by:
            return Close(self.first, why=f"{view.closed_by} closed the thinking")
        drafts = [
            OneStep(writer=seat, until=self.until, before=len(view.units))
            for seat in (self.first, self.second)
        ]
        return Fork(tuple(map(Branch, drafts)), why="two drafts", memo="drafted")

    async def _choose(self, view: View) -> Decision:
        question = QUESTION.format(*(branch.thinking.strip() for branch in view.branches))
        letters = "ABC" if self.human else "AB"
        choice = await view.ask(self.arbiter, question + PASS * bool(self.human), choices=letters)
        seat = self.arbiter
        if self.human and choice not in ("A", "B"):
            choice, seat = await view.ask(self.human, question, choices="AB"), self.human
        return Choose(int(choice == "B"), why=f"{seat} says {choice}")
