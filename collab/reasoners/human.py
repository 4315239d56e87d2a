"""A human in a seat, who follows the trajectory and writes or gives advice.

Typed text is stored like a draw, so a rerun or a resumed run does not ask again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from collab.core.cost import Rates
from collab.core.policy import Inquiry, SideAnswer
from collab.core.sampling import Drawn, Generation, Request, Sampling
from collab.core.trajectory import Unit
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.errors import PolicyError
from collab.reasoners.advisers import named_option
from collab.store.store import Store

Listen = Callable[[Turn, str], Awaitable[str]]
"""Shows a turn's trajectory and a request, and returns the typed text."""
CLOSE = "/close"
"""The last line to type to close the thinking."""


@dataclass(frozen=True)
class Human:
    """A human at the terminal."""

    listen: Listen
    store: Store
    replicate: int = 0
    can: ClassVar[frozenset[str]] = frozenset({"write", "answer", "advise"})
    think_close: ClassVar[str] = ""
    rates: ClassVar[Rates] = Rates()

    def count(self, text: str) -> int | None:
        """Return None: a human has no tokenizer."""
        return None

    async def write(self, turn: Turn) -> WrittenTurn:
        """Let the human write one unit, whatever the boundary, or the answer."""
        answering = turn.phase == "answer"
        wanted = "Your answer" if answering else f"The next unit ({CLOSE} last: end the thinking)"
        drawn = await self._typed(turn, wanted)
        text = drawn.generation.text
        thought, closes, _ = text.partition(CLOSE)
        kept = text if answering else f"{thought.strip()}\n\n"
        unit = Unit(
            turn.seat,
            kept,
            "generated",
            turn.why,
            turn.phase,
            tokens=len(kept.split()),
            generations=(drawn.generation.key,),
        )
        return WrittenTurn((unit,), "end" if answering or closes else "boundary", drawn=(drawn,))

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Ask the human; an option may be abbreviated to its first letters."""
        options = inquiry.options
        wanted = inquiry.text + (f"\n({' / '.join(options)})" if options else "")
        drawn = await self._typed(turn, wanted)
        text = drawn.generation.text.strip()
        matching = [one for one in options if text and one.casefold().startswith(text.casefold())]
        chances = {matching[0]: 1.0} if len(matching) == 1 else named_option(text, options)
        return Reply(SideAnswer(text, chances), (drawn,))

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a human and cannot score {text!r}")

    async def _typed(self, turn: Turn, wanted: str) -> Drawn:
        """Return the text typed here, from the store if it was typed before."""
        question = "\n\n".join(message.content for message in turn.question.messages)
        prompt = f"{question}\n\n{turn.trajectory.thinking}\n\n{wanted}"
        request = Request("human", prompt, Sampling(), 1, replicate=self.replicate)

        async def sample(missing: range) -> list[Generation]:
            start = time.monotonic()
            text = await self.listen(turn, wanted)
            seconds = time.monotonic() - start
            words = len(text.split())
            return [Generation(text, None, "stop", completion_tokens=words, seconds=seconds)]

        (drawn,) = await self.store.draws(request, [turn.number(request)], sample, jointly=False)
        return drawn
