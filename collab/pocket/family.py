"""One family of word problems: a start, a chain of changes, and how many there are now.

A problem is made from a seed and lies, by the hash of its numbers, either in the part that models
are trained on or in the held-out part that they are asked. `replay` reads a thinking text back
against the problem that it is about.
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
"""Share of training problems with made-up names, so that every letter is a token that was seen."""


@dataclass(frozen=True, slots=True)
class Level:
    """How hard a problem is: the size of its numbers and the length of its chain."""

    start: tuple[int, int]
    """Smallest and largest number of things at the start."""
    amount: tuple[int, int]
    """Smallest and largest number that is added or taken away."""
    most: int
    """No value on the way exceeds this."""
    length: tuple[int, int]
    """Fewest and most changes."""


LEVELS: dict[str, Level] = {
    "easy": Level(start=(2, 20), amount=(2, 20), most=60, length=(2, 3)),
    "middle": Level(start=(2, 60), amount=(2, 60), most=400, length=(4, 6)),
    "hard": Level(start=(10, 99), amount=(2, 300), most=999, length=(5, 7)),
    "short": Level(start=(2, 60), amount=(2, 60), most=400, length=(3, 5)),
    "long": Level(start=(2, 60), amount=(2, 90), most=600, length=(8, 12)),
}
"""The levels; `short` and `long` are for training alone: no asked chain is the longest one seen."""
TAUGHT = ("easy", "short", "hard", "long")
"""The levels that models are trained on; their numbers and lengths span those of the asked ones."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change, as the question says it and as a sum."""

    kind: Operation
    verb: str
    amount: int
    before: int
    after: int

    @property
    def said(self) -> str:
        """Return the change in the question's words, such as 'buys 17'."""
        return self.verb if self.kind in FACTORS else f"{self.verb} {self.amount}"

    @property
    def sum(self) -> str:
        """Return the change as a sum, such as '34 plus 17 is 51'."""
        return f"{self.before} {SIGNS[self.kind]} {self.amount} is {self.after}"


@dataclass(frozen=True)
class Problem:
    """A word problem with its chain of values; two equal problems have equal ids."""

    level: str
    name: str
    pronoun: str
    item: str
    start: int
    steps: tuple[Step, ...]

    @cached_property
    def text(self) -> str:
        """Return the question."""
        changes = "".join(f" {self.pronoun} {step.said}." for step in self.steps)
        asked = f"How many {self.item} does {self.pronoun.lower()} have now?"
        return f"{self.name} has {self.start} {self.item}.{changes} {asked}"

    @property
    def answer(self) -> int:
        """Return the number of things at the end."""
        return self.steps[-1].after

    @property
    def id(self) -> str:
        """Return the level and a hash of the text."""
        return f"{self.level}-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def held_out(self) -> bool:
        """Say whether the numbers and changes (not the names) fall into the held-out part."""
        content = f"{self.start}" + "".join(f" {s.kind} {s.amount}" for s in self.steps)
        bucket = hashlib.sha256(content.encode()).digest()[0]
        return bucket < HELD_OUT_SHARE * 256


def make(level: str, seed: int | str, split: Split = "test") -> Problem:
    """Make the one problem that belongs to a level, a seed and a split."""
    rng = random.Random(f"{level}/{split}/{seed}")
    return draw(level, rng, split)


def problems(level: str, count: int, seed: int = 0, split: Split = "test") -> list[Problem]:
    """Make `count` different problems."""
    made = (make(level, f"{seed}.{i}", split) for i in counting())
    return list(islice(_distinct(made), count))


def draw(level: str, rng: random.Random, split: Split) -> Problem:
    """Draw a problem from a random source, again and again until it lies in the split."""
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
    """Keep values in range, and each change unlike the others, so that a sum names its place."""
    taken = {(earlier.kind in FACTORS, earlier.amount) for earlier in steps}
    return 0 < step.after <= level.most and (step.kind in FACTORS, step.amount) not in taken


SLIP_MARK = "No, that is wrong."
AGAIN = "Read it again."
CONCLUSION = "So the answer is"
_SUM = re.compile(r"\d+ (?:plus|minus|times) \d+ is \d+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Replay:
    """What reading a thinking text against its problem found."""

    wrong: tuple[int, ...]
    """Places of the sentences that do not follow from the problem."""
    unmarked: tuple[int, ...]
    """Those of them that no later sentence takes back."""

    @property
    def holds(self) -> bool:
        """Say whether all that stands in the end belongs to the problem and follows."""
        return not self.unmarked


def replay(problem: Problem, thinking: str) -> Replay:
    """Read each line of a thinking text against the problem that it is about.

    A sum must be the problem's next one, the last one again, or the first. Any other sentence may
    hold only words and numbers of the question, or the answer once the chain is done.
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
    """Return the place in the chain after a sentence, or None where it does not follow."""
    if found := _SUM.search(line):
        sums = [step.sum for step in problem.steps]
        at = sums.index(found[0]) if found[0] in sums else None
        said = at is not None and _belongs(problem, line[: found.start()] + line[found.end() :])
        return at if said and at in (place, place + 1, 0) else None
    if line.startswith(CONCLUSION):
        done = place == len(problem.steps) - 1
        return place if done and line == f"{CONCLUSION} {problem.answer}." else None
    return place if _belongs(problem, line) else None


def _belongs(problem: Problem, line: str) -> bool:
    numbers = {problem.start, *(step.amount for step in problem.steps if step.said != step.verb)}
    said = {int(number) for number in _NUMBER.findall(line)}
    others = {name for name, _ in PEOPLE} | set(ITEMS)
    words = set(re.findall(r"\w+", line)) & others
    return said <= numbers and words <= {problem.name, problem.item}
