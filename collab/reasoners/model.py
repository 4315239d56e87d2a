"""A model in a seat, served by an endpoint, with the store in between.

The text of its units is the decoding of its own token ids if ids are known.
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
from collab.episode.team import Team
from collab.errors import ContextFull, Rejected
from collab.reasoners.advisers import advise, score, side_prompt
from collab.reasoners.stored_model import StoredModel, prompt_text
from collab.reasoners.turn_writer import TurnWriter

LONG = 10_000
"""Characters of other authors' text that take longer to encode (8 ms) than a thread to start."""

if TYPE_CHECKING:
    from collab.endpoints.dialects import PromptLayout


@dataclass(frozen=True)
class Model(StoredModel):
    """A model in a seat."""

    async def write(self, turn: Turn) -> WrittenTurn:
        """Sample from the exact trajectory up to the boundary, the close tag or the budget.

        Raises:
            ContextFull: The context of the server is full, and nothing was written.
            Rejected: The API refused the prompt, or to return a draw.
        """
        answering = turn.phase == "answer" and turn.trajectory.closed_by == turn.seat
        if answering and not self.think_close:
            return WrittenTurn((), "end")  # the turn that it ended holds its answer
        layout = await self._lay_out(turn)
        room, wall = self.room(turn, layout.prompt)
        writer = TurnWriter(self, turn, layout.prompt, layout.seams)
        while not writer.reached(room):
            request = writer.request(room)
            try:
                (drawn,) = await self.draw(request, [turn.number(request)], turn.on_text)
            except ContextFull:
                if not writer.drawn:
                    raise
                wall = "context"  # the limit was unknown; the text so far stays
                break
            _check_returned(drawn.generation)
            writer.add(drawn)
        written = writer.written()
        return replace(written, reached=wall) if written.reached == "length" else written

    async def _lay_out(self, turn: Turn) -> PromptLayout:
        """Lay out a turn's prompt, on a thread if much text must be encoded."""
        given = (turn.question.messages, turn.trajectory, turn.phase, turn.seat)
        others = (unit for unit in turn.trajectory.units if unit.author != turn.seat)
        if sum(len(unit.text) for unit in others) < LONG:
            return self.dialect.prompt(*given)
        return await asyncio.to_thread(self.dialect.prompt, *given)

    def render_prompt(self, turn: Turn, inquiry: Inquiry | None = None) -> str:
        """Return the text of the exact prompt of a turn, or of a side question in it."""
        if inquiry is None:
            messages, phase = turn.question.messages, turn.phase
            prompt = self.dialect.prompt(messages, turn.trajectory, phase, turn.seat).prompt
        else:
            prompt = side_prompt(self, turn, inquiry)
        return prompt_text(prompt, self.tokenizer)

    async def solo(
        self, question: Question, draws: range, budget: int
    ) -> list[tuple[Recording, Drawn]]:
        """Draw solo trajectories, thinking and answer, with the bank's draw numbers.

        Raises:
            ContextFull: The question leaves no room, or the server's context is full.
        """
        turn = Turn("", question, Trajectory(), "thinking", Answer(), budget, lambda _: 0)
        prompt = self.dialect.prompt(question.messages, turn.trajectory, "thinking", "").prompt
        room, _ = self.room(turn, prompt)
        if room < 1:
            raise ContextFull(f"question {question.id!r} leaves no tokens of the budget or context")
        request = TurnWriter(self, turn, prompt).request(room)
        taken = await self.draw(request, draws)
        for one in taken:
            _check_whole(question, request, one.generation)
        return [(await self._recording(turn, prompt, drawn), drawn) for drawn in taken]

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Answer a side question about the thinking so far."""
        return await advise(self, turn, inquiry)

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Return the probability of its own tokens for `text` after the exact trajectory.

        Raises:
            PolicyError: The endpoint scores no prompts, or the text has no tokens.
        """
        return await score(self, turn, text)

    async def _recording(self, turn: Turn, prompt: Prompt, drawn: Drawn) -> Recording:
        writer = TurnWriter(self, turn, prompt)
        writer.add(drawn)
        written = writer.written()
        thinking, *rest = written.units or (Unit("", "", "generated"),)
        if not self.think_close and written.reached == "end":
            rest = [thinking]  # it holds the answer
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


def models_of(team: Team) -> dict[str, Model]:
    """Return the models of a team by seat, without its humans, tools and recordings."""
    return {seat: one for seat, one in team.seats.items() if isinstance(one, Model)}


def _check_returned(drawn: Generation) -> None:
    """Check that the API did not withhold a draw.

    Raises:
        Rejected: The API refused to return it.
    """
    if drawn.finish == "abort":
        shown = f": {drawn.text[:80]!r}" if drawn.text else ""
        raise Rejected(f"the API refused to return a draw of this prompt{shown}")


def _check_whole(question: Question, request: Request, drawn: Generation) -> None:
    if drawn.finish == "context":
        raise ContextFull(
            f"question {question.id!r}: the server stopped after {drawn.completion_tokens:,} of "
            f"{request.max_tokens:,} tokens, at {drawn.prompt_tokens + drawn.completion_tokens:,} "
            "with the prompt; set the model's context or the run's budget to what the server allows"
        )
