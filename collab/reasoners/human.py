"""A human in a seat: reads the trajectory as it grows, and writes or gives advice.

What somebody typed is stored as a draw is: a rerun and a resumed run ask nobody twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from collab.core.cost import Rates
from collab.core.policy import Inquiry, SideAnswer
from collab.core.sampling import Drawn, Generation, Request, Sampling
from collab.core.trajectory import Unit
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.errors import PolicyError
from collab.reasoners.advisers import named
from collab.store.store import Store

Listen = Callable[[Turn, str], Awaitable[str]]
"""Shows a turn's trajectory and what is wanted, and returns what was typed."""
CLOSE = "/close"
"""What a human types on a line of its own, last, to close the thinking."""


@dataclass(frozen=True)
class Human:
    """Whoever sits at the terminal."""

    listen: Listen
    store: Store
    replicate: int = 0
    can: frozenset[str] = frozenset({"write", "answer", "advise"})
    think_close: str = ""
    rates: Rates = Rates()  # noqa: RUF009 - a frozen value

    def count(self, text: str) -> int | None:
        """Return None: nobody has a tokenizer in the head."""
        return None

    async def write(self, turn: Turn) -> WrittenTurn:
        """Let the human write one unit, whatever the boundary; or the answer."""
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
        """Ask the human; of several options, the one whose beginning is typed counts."""
        options = inquiry.options
        wanted = inquiry.text + (f"\n({' / '.join(options)})" if options else "")
        drawn = await self._typed(turn, wanted)
        text = drawn.generation.text.strip()
        begun = [one for one in options if text and one.casefold().startswith(text.casefold())]
        chances = {begun[0]: 1.0} if len(begun) == 1 else named(text, options)
        return Reply(SideAnswer(text, chances), (drawn,))

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a human, who cannot say how likely {text!r} is")

    async def _typed(self, turn: Turn, wanted: str) -> Drawn:
        """Return what was typed at this place, from the store where it was typed before."""
        said = "\n\n".join(message.content for message in turn.question.messages)
        read = f"{said}\n\n{turn.trajectory.thinking}\n\n{wanted}"
        request = Request("human", read, Sampling(), 1, replicate=self.replicate)

        async def sample(missing: range) -> list[Generation]:
            begun = time.monotonic()
            text = await self.listen(turn, wanted)
            seconds = time.monotonic() - begun
            words = len(text.split())
            return [Generation(text, None, "stop", completion_tokens=words, seconds=seconds)]

        (drawn,) = await self.store.draws(request, [turn.number(request)], sample, jointly=False)
        return drawn
