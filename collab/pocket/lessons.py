"""The examples of a training step: new problems of the family, packed into rows of equal length.

A batch depends only on the recipe, the seed and the number of the step, so training can stop and
resume anywhere. Examples in one row cannot attend to each other.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from collab.pocket.family import Problem, draw
from collab.pocket.styles import STYLES, ThinkingLine, corrected, started_over
from collab.pocket.tokenizer import REQUESTS, SYSTEM, closing, prompt

_PIECES = re.compile(
    r"</?\|?\w+\|?>|\n|\.|\d|[^\r\n\da-zA-Z.<]?[a-zA-Z]+| ?[^\s\da-zA-Z.<]+|[^\S\n]+"
)
"""Matches the tokenizer's pieces, in plain ASCII, and its tags."""

Slips = Sequence[tuple[Problem, Sequence[str]]]

SHORT, MIDDLING, LONG = 128, 256, 1024
"""Row widths (tokens)."""
WIDTHS = (SHORT, MIDDLING, SHORT, MIDDLING, SHORT, MIDDLING, SHORT, LONG)
"""The row width of each step, repeated: attention costs less in short rows."""
FLOORS = {SHORT: 0, MIDDLING: SHORT, LONG: MIDDLING}
"""By row width: the number of tokens that an example must exceed to be put in such a row."""
TRAINED_TOKENS = LONG
"""The longest sequences that models are trained on (tokens)."""
BATCH = 4096
"""Tokens of a batch."""
FILL = 1.05
"""Tokens of the examples drawn for a batch, as a share of the batch: a few do not fit."""
OWN_SLIPS = 0.25
"""Share of examples made from the model's own slips, if it has any."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and whether the model learns to write each."""

    ids: list[int]
    taught: list[bool]


@dataclass(frozen=True, slots=True)
class PackedExamples:
    """A row of examples: `owner` numbers them from 1, and `places` starts at 0 in each."""

    ids: list[int]
    taught: list[bool]
    owner: list[int]
    places: list[int]


@dataclass(frozen=True, slots=True)
class Lessons:
    """The training data of a model: styles, and levels with their weights."""

    tokenizer: Tokenizer
    styles: Sequence[str]
    levels: Mapping[str, float]
    started_over: float = 0.5
    """Share of short examples in which the derivation is started over once."""
    slips: Slips = ()
    known: dict[str, list[int]] = field(default_factory=dict)

    def batch(self, seed: str, step: int) -> list[PackedExamples]:
        """Draw the rows of one step."""
        rng = random.Random(f"{seed}/{step}")
        width = WIDTHS[step % len(WIDTHS)]
        examples: list[Example] = []
        wanted = FILL * BATCH
        while wanted > 0:
            example = self._long(rng) if width == LONG else self._short(rng)
            if FLOORS[width] < len(example.ids) <= width:
                examples.append(example)
                wanted -= len(example.ids)
        return pack(examples, width, BATCH // width)

    def text(self, rng: random.Random, times: int) -> tuple[Problem, list[ThinkingLine]]:
        """Draw a problem and a thinking text about it that is started over `times` times."""
        if self.slips and rng.random() < OWN_SLIPS:
            problem, slipped = rng.choice(self.slips)
            return problem, corrected(problem, slipped, rng)
        problem = draw(_pick(self.levels, rng), rng, "train")
        return problem, started_over(problem, STYLES[rng.choice(self.styles)], rng, times)

    def _short(self, rng: random.Random) -> Example:
        return self._example(*self.text(rng, int(rng.random() < self.started_over)), rng)

    def _long(self, rng: random.Random) -> Example:
        return self._example(*self.text(rng, rng.randint(1, 14)), rng)

    def _example(
        self, problem: Problem, thinking: Sequence[ThinkingLine], rng: random.Random
    ) -> Example:
        request = REQUESTS[rng.randrange(len(REQUESTS))] if rng.random() < 0.4 else ""
        system = SYSTEM if rng.random() < 0.03 else ""
        asked = prompt(problem.text + request, system)
        answered = ThinkingLine(closing(problem.answer))
        ids: list[int] = []
        taught: list[bool] = []
        for part in (ThinkingLine(asked, taught=False), *thinking, answered):
            ids += self.encode(part.text)
            taught += [part.taught] * (len(ids) - len(taught))
        return Example(ids, taught)

    def encode(self, text: str) -> list[int]:
        """Encode a text of the family like the tokenizer, but look up each piece only once."""
        ids: list[int] = []
        for piece in _PIECES.findall(text):
            if piece not in self.known:
                self.known[piece] = self.tokenizer.encode(piece).ids
            ids += self.known[piece]
        return ids


def pack(examples: Sequence[Example], width: int, rows: int) -> list[PackedExamples]:
    """Put examples into rows, longest first, each into the row where it leaves the least space."""
    packed = [PackedExamples([], [], [], []) for _ in range(rows)]
    for example in sorted(examples, key=lambda e: -len(e.ids)):
        room: Callable[[PackedExamples], int] = lambda row: width - len(row.ids)  # noqa: E731
        fitting = [row for row in packed if room(row) >= len(example.ids)]
        if fitting:
            _append(min(fitting, key=room), example)
    for row in packed:
        _append(row, Example([0] * (width - len(row.ids)), [False] * (width - len(row.ids))))
    return packed


def _append(row: PackedExamples, example: Example) -> None:
    owner = row.owner[-1] + 1 if row.owner else 1
    row.ids.extend(example.ids)
    row.taught.extend(example.taught)
    row.owner.extend([owner] * len(example.ids))
    row.places.extend(range(len(example.ids)))


def _pick(weights: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
