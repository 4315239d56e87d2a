"""Write one turn of a model, request by request, and cut the text into units.

Units are cut at whole tokens, so that their text is the decoding of their ids if ids are known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from collab.core.boundary import Answer, Tag
from collab.core.sampling import Drawn, Prompt, Request
from collab.core.trajectory import Seams, Unit
from collab.episode.reasoner import Reached, Turn, WrittenTurn

BLIND = 128
"""Tokens per request if the server takes no stop strings; tokens after the end of the unit are
wasted."""
LONGEST = 3
"""Tokens that may be missing from a character, which has at most four bytes."""

if TYPE_CHECKING:
    from collab.reasoners.stored_model import StoredModel


@dataclass
class TurnWriter:
    """The text of one turn while it grows, request by request."""

    model: StoredModel
    turn: Turn
    prompt: Prompt
    seams: Seams | None = None
    text: str = ""
    ids: tuple[int, ...] | None = ()
    tokens: int = 0
    drawn: list[Drawn] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """The log-probability of each token, if requested; `entropies` likewise."""
    entropies: list[float] = field(default_factory=list)
    stuck: bool = False
    """Whether the last request returned special tokens only."""

    @property
    def _last(self) -> Drawn | None:
        return self.drawn[-1] if self.drawn else None

    @property
    def _closed_at(self) -> int:
        """The start of the model's own close tag in the text; -1: it wrote none."""
        close = self.model.think_close
        return self.text.find(close) if close and self.turn.phase == "thinking" else -1

    @property
    def _torn(self) -> bool:
        """Whether the last token ends inside a character."""
        return self.ids is not None and self.text.endswith("\N{REPLACEMENT CHARACTER}")

    @property
    def _stops(self) -> tuple[str, ...]:
        stops = self.turn.until.stops
        through = self.turn.phase == "answer" or isinstance(self.turn.until, Answer)
        close = self.model.think_close
        return stops if through or not close else (*stops, close)

    def request(self, room: int) -> Request:
        """Make the request for the next tokens."""
        until = self.turn.until
        limit = max(until.limit - self.tokens, 1) if until.limit is not None else room
        blind = self.model.endpoint.profile.max_stops == 0 and bool(until.stops)
        piece = until.piece or (BLIND if blind else room)
        most = min(room - self.tokens, limit, piece)
        if isinstance(self.prompt, tuple):
            prompt: Prompt = self.prompt + (self.ids or ())
        else:
            prompt = self.prompt + self.text
        return self.model.request(prompt, most, stop=self._stops, logprobs=self.model.logprobs)

    def add(self, drawn: Drawn) -> None:
        """Append one generation."""
        self.drawn.append(drawn)
        text, ids = self.model.clean(drawn)
        if logprobs := drawn.generation.logprobs:
            count = None if ids is None else len(ids)
            self.logprobs += logprobs.drawn[:count]
            self.entropies += logprobs.entropies[:count]
        self.stuck = not (text or ids)
        self.tokens += len(ids) if ids is not None else drawn.generation.completion_tokens
        if ids is None or self.ids is None or self.model.tokenizer is None:
            self.ids, self.text = None, self.text + text
        else:
            self.ids += ids
            self.text = self.model.tokenizer.decode(self.ids)

    def reached(self, room: int) -> Reached | None:
        """Return why the turn is over; None while it is not."""
        last = self._last
        if self.tokens >= room:
            return "length"
        if last is None:
            return None
        if self._closed_at >= 0:
            return "end"
        if self.turn.until.cut(self.text) is not None:
            return "boundary"
        ended = last.generation.finish == "stop"
        if self.stuck or (ended and not isinstance(last.generation.stop_reason, str)):
            thinking = self.turn.phase == "thinking" and self.model.think_close
            return "turn over" if thinking else "end"
        limit = self.turn.until.limit
        enough = limit is not None and self.tokens >= limit + (LONGEST if self._torn else 0)
        return "boundary" if enough else None

    def written(self) -> WrittenTurn:
        """Cut the text at the boundary, and return the units with the reason for the end."""
        closed_at = self._closed_at
        cut = self.turn.until.cut(self.text)
        written = partial(WrittenTurn, drawn=tuple(self.drawn))
        if closed_at >= 0 and (cut is None or closed_at <= cut):
            units = [self._unit(0, closed_at, through=False)]
            if isinstance(self.turn.until, Answer):
                units.append(
                    replace(self._unit(closed_at + len(self.model.think_close)), phase="answer")
                )
            return written(tuple(units), "end", cut=len(units) > 1 and self._out_of_room)
        if cut is None:
            answering = self.turn.phase == "answer"
            return written((self._unit(0),), self._over(), cut=answering and self._out_of_room)
        if isinstance(self.turn.until, Tag):
            at = self.turn.until.begin(self.text, cut)
            before, tag = self._unit(0, at, through=False), self._unit(at, cut)
            units = [*([before] if before.text else []), replace(tag, kind="signal")]
            return written(tuple(units), "boundary")
        return written((self._unit(0, cut),), "boundary")

    @property
    def _out_of_room(self) -> bool:
        return self._last is not None and self._last.generation.finish in ("length", "context")

    def _over(self) -> Reached:
        return self.reached(self.tokens + 1) or "length"

    def _unit(self, start: int, end: int | None = None, through: bool = True) -> Unit:
        """Make a unit from the text between two characters, moved to whole tokens.

        With `through`, the token that contains `end` belongs to the unit.
        """
        turn, tokenizer = self.turn, self.model.tokenizer
        text, ids, own = self.text[start:end], None, slice(None)
        tokens = round(self.tokens * len(text) / max(len(self.text), 1))
        known = self.ids is not None and tokenizer is not None
        if known and start == 0 and end is None:  # the whole text: no token to find
            ids, tokens = self.ids, len(self.ids or ())
        elif self.ids is not None and tokenizer is not None:
            ends = (0, *tokenizer.ends(self.ids))
            first = bisect_right(ends, start) - 1
            end = ends[-1] if end is None else ends[bisect_left(ends, end)] if through else end
            last = bisect_right(ends, end) - 1
            ids, text = self.ids[first:last], self.text[ends[first] : ends[last]]
            tokens, own = len(ids), slice(first, last)
        return Unit(
            author=turn.seat,
            text=text,
            kind="generated",
            why=turn.why,
            phase=turn.phase,
            ids=ids,
            tokenizer=tokenizer.fingerprint if tokenizer and ids is not None else None,
            tokens=tokens,
            generations=tuple(drawn.generation.key for drawn in self.drawn),
            top20_entropy=_mean(self.entropies[own]),
            logprob=_mean(self.logprobs[own]),
            seams=None if start else self.seams,
        )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
