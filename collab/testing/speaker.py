"""A reasoner without a model, for tests that need no server."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from collab.core.boundary import Boundary, Tag
from collab.core.cost import Rates
from collab.core.policy import Inquiry, Likelihood, SideAnswer
from collab.core.trajectory import Trajectory, Unit
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn

LINES = (
    "We add 3 and 4.",
    "Wait, that is not right.",
    "So it is 7.",
    "Hmm, let me check.",
    "The answer is \\boxed{7}.",
)
ABILITIES = frozenset({"write", "answer", "advise", "logprobs", "score"})


@dataclass(frozen=True)
class Speaker:
    """A reasoner without a model: it writes random lines, the same in every rerun."""

    lines: Sequence[str] = LINES
    closes: float = 0.1
    """The chance that it closes its thinking after a line."""
    can: frozenset[str] = ABILITIES
    think_close: str = ""
    rates: Rates = Rates()  # noqa: RUF009 - a frozen value

    def count(self, text: str) -> int:
        """Count words."""
        return len(text.split())

    async def write(self, turn: Turn) -> WrittenTurn:
        """Write lines up to the boundary, the close tag or the end of the budget."""
        rng = _rng(turn.seat, turn.trajectory)
        if turn.phase == "answer":
            answer = Unit(turn.seat, "The answer is 7.", "generated", turn.why, "answer", tokens=4)
            return WrittenTurn((answer,), "end")
        text, room = "", turn.budget - turn.trajectory.tokens
        while True:
            text += " " * bool(text or turn.trajectory.units) + rng.choice(self.lines)
            text += _tag(turn.until) if rng.random() < 0.3 else ""
            ends, cut = rng.random() < self.closes, _cut(turn.until, f"{text} ")
            if self.count(text) >= room:
                return WrittenTurn((self._unit(turn, text, rng),), "length")
            if cut is not None and (cut < len(text) or not ends):
                return WrittenTurn(tuple(self._cut(turn, text[:cut], rng)), "boundary")
            if ends:
                return WrittenTurn((self._unit(turn, text, rng),), "end")

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Return a random option, or a random line if there are no options."""
        rng = _rng(inquiry.text, turn.trajectory)
        if not inquiry.options:
            return Reply(SideAnswer(rng.choice(self.lines)), ())
        chosen = rng.choice(inquiry.options)
        return Reply(SideAnswer(chosen, {chosen: 1.0}), ())

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Return a random likelihood of a text."""
        chance = -3 * _rng(text, turn.trajectory).random()
        return Likelihoods(Likelihood(chance, self.count(text)), ())

    def _cut(self, turn: Turn, text: str, rng: random.Random) -> Iterable[Unit]:
        if not isinstance(turn.until, Tag):
            yield self._unit(turn, text, rng)
            return
        at = turn.until.begin(text, len(text))
        if at:
            yield self._unit(turn, text[:at], rng)
        yield replace(self._unit(turn, text[at:], rng), kind="signal")

    def _unit(self, turn: Turn, text: str, rng: random.Random) -> Unit:
        tokens, entropy = self.count(text), 2 * rng.random()
        return Unit(
            turn.seat, text, "generated", turn.why, tokens=tokens, top20_entropy=entropy, logprob=-1
        )


def _rng(seat: str, trajectory: Trajectory) -> random.Random:
    seed = f"{seat}\0{len(trajectory.log)}\0{trajectory.thinking}".encode()
    return random.Random(blake2b(seed, digest_size=8).digest())


def _tag(until: Boundary) -> str:
    if not isinstance(until, Tag):
        return ""
    return f"{until.opens}8{until.tag}" if until.opens else until.tag


def _cut(until: Boundary, text: str) -> int | None:
    """Return the end of the first unit of a text, with words as tokens; None before its end."""
    if until.limit is None:
        return until.cut(text)
    words = list(re.finditer(r"\S+", text))
    return words[until.limit - 1].end() if len(words) >= until.limit else None
