"""What a training step reads: fresh examples of the family, packed into rows of equal length.

A batch depends on nothing but the recipe, the seed and the number of the step, so training can
stop and go on anywhere. Examples in one row never see each other.
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
"""The tokenizer's pieces, in plain ASCII, and its tags."""

Slips = Sequence[tuple[Problem, Sequence[str]]]

SHORT, MIDDLING, LONG = 128, 256, 1024
"""Tokens of a row."""
WIDTHS = (SHORT, MIDDLING, SHORT, MIDDLING, SHORT, MIDDLING, SHORT, LONG)
"""Tokens of a row at each step, over and over: attention costs less in short ones."""
FLOORS = {SHORT: 0, MIDDLING: SHORT, LONG: MIDDLING}
"""Examples with more tokens than this go into rows of this width."""
TRAINED_TOKENS = LONG
"""The longest sequences that models are trained on, in tokens."""
BATCH = 4096
"""Tokens of a batch."""
FILL = 1.05
"""Tokens of the examples that are drawn for a batch, as a share of it; a few find no room."""
OWN_SLIPS = 0.25
"""Share of examples made from the model's own slips, where there are any."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and for each whether the model learns to write it."""

    ids: list[int]
    taught: list[bool]


@dataclass(frozen=True, slots=True)
class PackedExamples:
    """Examples one after the other: `owner` counts them from 1, `places` starts anew in each."""

    ids: list[int]
    taught: list[bool]
    owner: list[int]
    places: list[int]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a model is trained on: styles, and levels with their weights."""

    tokenizer: Tokenizer
    styles: Sequence[str]
    levels: Mapping[str, float]
    started_over: float = 0.5
    """Share of short examples in which the derivation is started over once."""
    slips: Slips = ()
    known: dict[str, list[int]] = field(default_factory=dict)

    def batch(self, seed: str, step: int) -> list[PackedExamples]:
        """Make the rows of one step."""
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
        self, problem: Problem, said: Sequence[ThinkingLine], rng: random.Random
    ) -> Example:
        request = REQUESTS[rng.randrange(len(REQUESTS))] if rng.random() < 0.4 else ""
        system = SYSTEM if rng.random() < 0.03 else ""
        asked = prompt(problem.text + request, system)
        answered = ThinkingLine(closing(problem.answer))
        ids: list[int] = []
        taught: list[bool] = []
        for part in (ThinkingLine(asked, taught=False), *said, answered):
            ids += self.encode(part.text)
            taught += [part.taught] * (len(ids) - len(taught))
        return Example(ids, taught)

    def encode(self, text: str) -> list[int]:
        """Encode text of the family as the tokenizer does, each piece looked up only once."""
        ids: list[int] = []
        for piece in _PIECES.findall(text):
            if piece not in self.known:
                self.known[piece] = self.tokenizer.encode(piece).ids
            ids += self.known[piece]
        return ids


def pack(examples: Sequence[Example], width: int, rows: int) -> list[PackedExamples]:
    """Put examples into rows, longest first, each where it leaves the least space."""
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
