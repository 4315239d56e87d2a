"""Small programming tasks, and scripted coders that solve them without a model.

A task is a chain of steps on a number. A coder writes one line of thinking per step, and gets each
step wrong with a fixed chance. It continues from the steps on the trajectory, and sometimes from
the lines of another task. Its program does what the lines say.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from collab.endpoints.scripted import attentive

LevelName = Literal["easy", "middle", "hard"]
LEVELS: Mapping[LevelName, int] = {"easy": 2, "middle": 4, "hard": 8}
"""Steps of a task, by level."""
STEPS: tuple[tuple[str, str], ...] = (
    ("add {}", "x + {}"),
    ("take away {}", "x - {}"),
    ("multiply by {}", "x * {}"),
    ("take the rest by {}", "x % {}"),
)
CODERS: Mapping[str, float] = {"weak": 0.25, "strong": 0.03}
"""The chance of a wrong step, by coder."""
DRAFTS = 64
"""The number of continuations of a prompt; the seed picks one."""
FOLLOWS = 0.3
"""The chance that a coder continues from the lines of another task."""
ASKED = re.compile(r"gives a whole number x back changed: ([^.]+)\.")
TASK = re.compile(r"The task: ([^.]+)\.")
LINE = re.compile(r"Step \d+: .*? so x = (.*?)\.(?=\s|$)")


@dataclass(frozen=True)
class Task:
    """A task, with a reference solution and its tests."""

    text: str
    solution: str
    tests: tuple[str, ...]


def tasks(level: LevelName, count: int, seed: int) -> list[Task]:
    """Make `count` different tasks."""
    made: dict[str, Task] = {}
    nth = 0
    while len(made) < count:
        draw = random.Random(f"{level}/{seed}/{nth}")
        steps = [(draw.choice(STEPS), draw.randint(2, 9)) for _ in range(LEVELS[level])]
        changes = ", then ".join(phrase.format(n) for (phrase, _), n in steps)
        solution = program([code.format(n) for (_, code), n in steps])
        made.setdefault(changes, Task(_text(changes), solution, _tests(solution)))
        nth += 1
    return list(made.values())


def _text(changes: str) -> str:
    return f"Write a Python function `work(x)` that gives a whole number x back changed: {changes}."


def program(expressions: list[str]) -> str:
    """Return the source of a function that changes x by each expression in order."""
    lines = "".join(f"    x = {expression}\n" for expression in expressions)
    return f"def work(x):\n{lines}    return x\n"


def _tests(solution: str) -> tuple[str, ...]:
    space: dict[str, Callable[[int], int]] = {}
    exec(solution, space)  # trusted: made by `program`
    return tuple(f"assert work({x}) == {space['work'](x)}" for x in (0, 1, 7, 50, 101))


def coder(name: str) -> Callable[[str], list[str]]:
    """Return the script of a coder."""
    wrong = CODERS[name]

    def continuations(prompt: str) -> list[str]:
        """Think about a task; answer any other prompt as `collab doctor` expects."""
        before, _, thinking = prompt.rpartition("<think>")
        asked = ASKED.findall(before)
        if not asked:
            return list(attentive(prompt))
        if "</think>" in thinking:
            return ["\n\n" + _answer(thinking)]
        drafts = (_Draft(random.Random(_hash(name, prompt, nth)), wrong) for nth in range(DRAFTS))
        return [draft.finish(asked[-1], thinking) for draft in drafts]

    return continuations


@dataclass
class _Draft:
    """One continuation of a prompt."""

    draw: random.Random
    wrong: float

    def finish(self, asked: str, thinking: str) -> str:
        """Continue the last task in the thinking, or start the task that was asked."""
        *_, last = [None, *TASK.finditer(thinking)]
        current = last[1] if last is not None else None
        if current is not None and (current == asked or self.draw.random() < FOLLOWS):
            task, done = current, len(LINE.findall(thinking, last.end() if last else 0))
            new = "" if thinking.endswith("\n") else "\n"
        else:
            task, done = asked, 0
            new = f"{'Back to what was asked. ' if current else ''}The task: {asked}.\n"
            new = new if not thinking.strip() or thinking.endswith("\n") else "\n" + new
        steps = task.split(", then ")
        new += "".join(self._line(nth, step) for nth, step in enumerate(steps) if nth >= done)
        new += "That is all."
        return f"{new}</think>\n\n{_answer(thinking + new)}"

    def _line(self, nth: int, step: str) -> str:
        for phrase, code in STEPS:
            found = re.fullmatch(phrase.format(r"(\d+)"), step)
            if found is not None:
                off = self.draw.choice((-1, 1)) if self.draw.random() < self.wrong else 0
                return f"Step {nth + 1}: {step}, so x = {code.format(int(found[1]) + off)}.\n"
        return ""


def _answer(thinking: str) -> str:
    """Return the program of the lines on the last task."""
    *_, last = [None, *TASK.finditer(thinking)]
    lines = LINE.findall(thinking, last.end() if last else 0)
    return f"```python\n{program(lines)}```"


def _hash(*content: object) -> int:
    return int.from_bytes(blake2b(repr(content).encode(), digest_size=8).digest(), "big")
