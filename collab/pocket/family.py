"""A family of word problems: a number of things, a chain of changes, and the number at the end.

A problem is made from a seed. The hash of its numbers puts it either in the training split or in
the held-out split, from which models are asked. `replay` checks a thinking text against its
problem.
"""

import hashlib
import random
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count as counting
from itertools import islice
from typing import Literal

Operation = Literal["add", "take", "double", "triple"]
Split = Literal["train", "test"]

PEOPLE = (
    *(("Mia", "She"), ("Ann", "She"), ("Eva", "She"), ("Lily", "She"), ("Nora", "She")),
    *(("Ben", "He"), ("Tom", "He"), ("Max", "He"), ("Omar", "He"), ("Paul", "He")),
)
ITEMS = ("apples", "books", "cards", "coins", "eggs", "nuts", "pens", "shells", "stamps", "toys")
VERBS: dict[Operation, tuple[str, ...]] = {
    "add": ("buys", "finds", "wins"),
    "take": ("gives", "loses", "sells"),
    "double": ("doubles",),
    "triple": ("triples",),
}
SIGNS: dict[Operation, str] = {"add": "plus", "take": "minus", "double": "times", "triple": "times"}
FACTORS: dict[Operation, int] = {"double": 2, "triple": 3}
HELD_OUT_SHARE = 1 / 8
MADE_UP_SHARE = 1 / 10
"""Share of training problems with made-up names, so that models see every letter as a token."""


@dataclass(frozen=True, slots=True)
class Level:
    """The difficulty of a problem: the size of its numbers and the length of its chain."""

    start: tuple[int, int]
    """Smallest and largest number at the start."""
    amount: tuple[int, int]
    """Smallest and largest number that is added or taken away."""
    most: int
    """The largest value in the chain."""
    length: tuple[int, int]
    """Smallest and largest number of changes."""


LEVELS: dict[str, Level] = {
    "easy": Level(start=(2, 20), amount=(2, 20), most=60, length=(2, 3)),
    "middle": Level(start=(2, 60), amount=(2, 60), most=400, length=(4, 6)),
    "hard": Level(start=(10, 99), amount=(2, 300), most=999, length=(5, 7)),
    "short": Level(start=(2, 60), amount=(2, 60), most=400, length=(3, 5)),
    "long": Level(start=(2, 60), amount=(2, 90), most=600, length=(8, 12)),
}
"""The levels. `short` and `long` are only for training, so that models see longer chains there."""
TAUGHT = ("easy", "short", "hard", "long")
"""The levels for training; their numbers and lengths span those of the other levels."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the number, with its phrase in the question and its sum."""

    kind: Operation
    verb: str
    amount: int
    before: int
    after: int

    @property
    def phrase(self) -> str:
        """The change in the words of the question, such as 'buys 17'."""
        return self.verb if self.kind in FACTORS else f"{self.verb} {self.amount}"

    @property
    def sum(self) -> str:
        """The change as a sum, such as '34 plus 17 is 51'."""
        return f"{self.before} {SIGNS[self.kind]} {self.amount} is {self.after}"


@dataclass(frozen=True)
class Problem:
    """A word problem with its chain of values. Equal problems have equal ids."""

    level: str
    name: str
    pronoun: str
    item: str
    start: int
    steps: tuple[Step, ...]

    @cached_property
    def text(self) -> str:
        """The question."""
        changes = "".join(f" {self.pronoun} {step.phrase}." for step in self.steps)
        asked = f"How many {self.item} does {self.pronoun.lower()} have now?"
        return f"{self.name} has {self.start} {self.item}.{changes} {asked}"

    @property
    def answer(self) -> int:
        """The number of things at the end."""
        return self.steps[-1].after

    @property
    def id(self) -> str:
        """The level and a hash of the text."""
        return f"{self.level}-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def held_out(self) -> bool:
        """Whether the problem is held out, by a hash of its numbers and changes (not its names)."""
        content = f"{self.start}" + "".join(f" {s.kind} {s.amount}" for s in self.steps)
        bucket = hashlib.sha256(content.encode()).digest()[0]
        return bucket < HELD_OUT_SHARE * 256


def make(level: str, seed: int | str, split: Split = "test") -> Problem:
    """Make the problem of a level, a seed and a split."""
    rng = random.Random(f"{level}/{split}/{seed}")
    return draw(level, rng, split)


def problems(level: str, count: int, seed: int = 0, split: Split = "test") -> list[Problem]:
    """Make `count` different problems."""
    made = (make(level, f"{seed}.{i}", split) for i in counting())
    return list(islice(_distinct(made), count))


def draw(level: str, rng: random.Random, split: Split) -> Problem:
    """Draw problems from a random source until one is in the split, and return it."""
    while True:
        name, pronoun = rng.choice(PEOPLE)
        item = rng.choice(ITEMS)
        if split == "train" and rng.random() < MADE_UP_SHARE:
            name, item = _made_up(rng).capitalize(), _made_up(rng)
        start, steps = _chain(LEVELS[level], rng)
        problem = Problem(level, name, pronoun, item, start, steps)
        if problem.held_out == (split == "test"):
            return problem


def _made_up(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_letters, k=rng.randint(2, 6)))


def _distinct(made: Iterator[Problem]) -> Iterator[Problem]:
    seen = set()
    for problem in made:
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem


def _chain(level: Level, rng: random.Random) -> tuple[int, tuple[Step, ...]]:
    start = value = rng.randint(*level.start)
    wanted = rng.randint(*level.length)
    steps: list[Step] = []
    while len(steps) < wanted:
        step = _change(level, value, rng)
        if _fits(step, steps, level):
            steps.append(step)
            value = step.after
    return start, tuple(steps)


def _change(level: Level, value: int, rng: random.Random) -> Step:
    kind: Operation = rng.choice(("add", "add", "take", "take", "take", "double", "triple"))
    amount = FACTORS.get(kind) or rng.randint(*level.amount)
    after = (
        value + amount if kind == "add" else value - amount if kind == "take" else value * amount
    )
    return Step(kind, rng.choice(VERBS[kind]), amount, value, after)


def _fits(step: Step, steps: Sequence[Step], level: Level) -> bool:
    """Return whether the value is in range and the change is new, so that a sum is unambiguous."""
    taken = {(earlier.kind in FACTORS, earlier.amount) for earlier in steps}
    return 0 < step.after <= level.most and (step.kind in FACTORS, step.amount) not in taken


SLIP_MARK = "No, that is wrong."
AGAIN = "Read it again."
CONCLUSION = "So the answer is"
_SUM = re.compile(r"\d+ (?:plus|minus|times) \d+ is \d+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of checking a thinking text against its problem."""

    wrong: tuple[int, ...]
    """The numbers of the lines that do not follow from the problem."""
    unmarked: tuple[int, ...]
    """The lines in `wrong` that no later sentence takes back."""

    @property
    def holds(self) -> bool:
        """Whether every line follows from the problem or is taken back."""
        return not self.unmarked


def replay(problem: Problem, thinking: str) -> Replay:
    """Check each line of a thinking text against its problem.

    A sum must be the problem's next one, the last one again, or the first. Any other sentence may
    contain only names and numbers of the question, or the answer once the chain is done.
    """
    place = -1
    wrong: list[int] = []
    open_slips: list[int] = []
    for i, line in enumerate(thinking.splitlines()):
        if line in (SLIP_MARK, AGAIN, ""):
            open_slips = [] if line == SLIP_MARK else open_slips
            continue
        after = _follows(problem, line, place)
        if after is None:
            wrong.append(i)
            open_slips.append(i)
        else:
            place = after
    return Replay(tuple(wrong), tuple(open_slips))


def _follows(problem: Problem, line: str, place: int) -> int | None:
    """Return the place in the chain after a sentence, or None if it does not follow."""
    if found := _SUM.search(line):
        sums = [step.sum for step in problem.steps]
        at = sums.index(found[0]) if found[0] in sums else None
        rest = line[: found.start()] + line[found.end() :]
        belongs = at is not None and _belongs(problem, rest)
        return at if belongs and at in (place, place + 1, 0) else None
    if line.startswith(CONCLUSION):
        done = place == len(problem.steps) - 1
        return place if done and line == f"{CONCLUSION} {problem.answer}." else None
    return place if _belongs(problem, line) else None


def _belongs(problem: Problem, line: str) -> bool:
    known = {problem.start, *(step.amount for step in problem.steps if step.phrase != step.verb)}
    numbers = {int(number) for number in _NUMBER.findall(line)}
    names = {name for name, _ in PEOPLE} | set(ITEMS)
    words = set(re.findall(r"\w+", line)) & names
    return numbers <= known and words <= {problem.name, problem.item}
