"""A model behind an endpoint, with the store between them.

It speaks in units whose text is the decoding of its own token ids wherever ids are known.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collab.core.boundary import Answer
from collab.core.policy import Inquiry
from collab.core.sampling import Drawn, Generation, Prompt, Request
from collab.core.trajectory import Question, Recording, Trajectory, Unit
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.errors import ContextFull
from collab.reasoners.advisers import advise, score, side_prompt
from collab.reasoners.stored_model import StoredModel, legible
from collab.reasoners.turn_writer import TurnWriter

LONG = 10_000
"""Characters of others' text that take longer to encode (8 ms) than a thread does to start."""

if TYPE_CHECKING:
    from collab.endpoints.dialects import PromptLayout


@dataclass(frozen=True)
class Model(StoredModel):
    """A model in a seat."""

    async def write(self, turn: Turn) -> WrittenTurn:
        """Sample from the exact trajectory until the boundary, the close tag or the budget."""
        answering = turn.phase == "answer" and turn.trajectory.closed_by == turn.seat
        if answering and not self.think_close:
            return WrittenTurn((), "end")  # its answer is in the turn that it has ended
        laid = await self._lay(turn)
        room, wall = self.room(turn, laid.prompt)
        draft = TurnWriter(self, turn, laid.prompt, laid.seams)
        while not draft.reached(room):
            request = draft.request(room)
            try:
                (drawn,) = await self.draw(request, [turn.number(request)], turn.on_text)
            except ContextFull:
                if not draft.drawn:
                    raise
                wall = "context"  # nobody said how much fits; what was written stays
                break
            draft.add(drawn)
        written = draft.written()
        return replace(written, reached=wall) if written.reached == "length" else written

    async def _lay(self, turn: Turn) -> PromptLayout:
        """Lay out a turn's prompt; where much of it must be encoded, others go on meanwhile."""
        given = (turn.question.messages, turn.trajectory, turn.phase, turn.seat)
        others = (unit for unit in turn.trajectory.units if unit.author != turn.seat)
        if sum(len(unit.text) for unit in others) < LONG:
            return self.dialect.prompt(*given)
        return await asyncio.to_thread(self.dialect.prompt, *given)

    def reads(self, turn: Turn, inquiry: Inquiry | None = None) -> str:
        """Return the text of the exact prompt that a turn, or a side question in it, would send."""
        if inquiry is None:
            messages, phase = turn.question.messages, turn.phase
            prompt = self.dialect.prompt(messages, turn.trajectory, phase, turn.seat).prompt
        else:
            prompt = side_prompt(self, turn, inquiry)
        return legible(prompt, self.tokenizer)

    async def solo(
        self, question: Question, draws: range, budget: int
    ) -> list[tuple[Recording, Drawn]]:
        """Draw whole trajectories, thinking and answer, from the bank's numbers.

        Raises:
            ContextFull: The question leaves no room, or the server gives less than is asked for.
        """
        turn = Turn("", question, Trajectory(), "thinking", Answer(), budget, lambda _: 0)
        prompt = self.dialect.prompt(question.messages, turn.trajectory, "thinking", "").prompt
        room, _ = self.room(turn, prompt)
        if room < 1:
            raise ContextFull(f"question {question.id!r} leaves no room to think in")
        request = TurnWriter(self, turn, prompt).request(room)
        taken = await self.draw(request, draws)
        for one in taken:
            _check_whole(question, request, one.generation)
        return [(await self._recording(turn, prompt, drawn), drawn) for drawn in taken]

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Answer a side question from the messages, the thinking so far and the question."""
        return await advise(self, turn, inquiry)

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Say how likely its own tokens for `text` are behind the exact trajectory.

        Raises:
            PolicyError: The endpoint scores no prompts, or there are no tokens in the text.
        """
        return await score(self, turn, text)

    async def _recording(self, turn: Turn, prompt: Prompt, drawn: Drawn) -> Recording:
        draft = TurnWriter(self, turn, prompt)
        draft.add(drawn)
        written = draft.written()
        thinking, *rest = written.units or (Unit("", "", "generated"),)
        if not self.think_close and written.reached == "end":
            rest = [thinking]  # its answer is in it
        ends = await self.ends(thinking.text, thinking.ids)
        return Recording(
            question=turn.question.id,
            text=thinking.text,
            tokens=thinking.tokens if ends is None else len(ends),
            ids=thinking.ids,
            tokenizer=thinking.tokenizer,
            ends=ends,
            model=self.identity,
            generation=drawn.generation.key,
            draw=drawn.draw,
            answer=rest[0].text if rest else "",
            closed=written.reached == "end" and not written.cut,
            kind="raw" if self.endpoint.profile.thinking_returned == "raw" else "summary",
        )


def _check_whole(question: Question, request: Request, drawn: Generation) -> None:
    if drawn.finish == "context":
        raise ContextFull(
            f"question {question.id!r}: the server stopped after {drawn.completion_tokens:,} of "
            f"{request.max_tokens:,} tokens, at {drawn.prompt_tokens + drawn.completion_tokens:,} "
            "with the prompt, and says no more: set the model's context to what it holds, or "
            "budget to what it writes"
        )
