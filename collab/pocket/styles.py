"""Four styles of thinking about a problem, and the training sequences for them.

A thinking text is a list of sentences, each on its own line. A `ThinkingLine` that is not `taught`
is context: the model learns what follows it, but not to write it. The slips of the checking style
are context, and so are the places where a derivation starts over in the middle of another one of
the same problem. No sequence contains text of another problem.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collab.pocket.family import AGAIN, CONCLUSION, SLIP_MARK, Problem, Step, replay

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class ThinkingLine:
    """A line of thinking, with its newline."""

    text: str
    taught: bool = True


Style = Callable[[Problem, random.Random], list[ThinkingLine]]


def plain(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Write only sums."""
    return [*_sums(problem.steps), _conclusion(problem)]


def restating(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Restate the problem, then write sums."""
    changes = ", ".join(step.phrase for step in problem.steps)
    opening = f"{problem.name} has {problem.start} {problem.item}.", f"{problem.pronoun} {changes}."
    return [*_taught(*opening), *_sums(problem.steps), _conclusion(problem)]


def strong(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Name each change before its sum."""
    lines = [f"{problem.pronoun} {step.phrase}, so {step.sum}." for step in problem.steps]
    return [*_taught(*lines), _conclusion(problem)]


def checking(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Write sums, check some of them, take slips back, and sometimes start over."""
    start = _taught(f"Start with {problem.start}.")
    if rng.random() < 0.3:
        return [*start, *_slipping(problem, rng), _conclusion(problem)]
    sums = _doubting(problem.steps, rng)
    if rng.random() < 0.35:
        count = rng.randint(1, len(sums))
        start = [*start, *sums[:count], *_taught(AGAIN), *start]
    return [*start, *_doubting(problem.steps, rng), _conclusion(problem)]


STYLES: dict[str, Style] = {
    "plain": plain,
    "restating": restating,
    "checking": checking,
    "strong": strong,
}


def started_over(
    problem: Problem, style: Style, rng: random.Random, times: int = 1
) -> list[ThinkingLine]:
    """Break off a derivation and start over, `times` times, then think to the end.

    The first sentence of each new start is context, so that no model learns to start over.
    """
    if not times:
        return style(problem, rng)
    parts: list[ThinkingLine] = []
    for _ in range(times):
        parts += _first_part(style(problem, rng), rng)
        parts += [ThinkingLine("\n", taught=False)] * rng.randint(0, 1)
    first, *rest = style(problem, rng)
    return [*parts, ThinkingLine(first.text, taught=False), *rest]


def corrected(problem: Problem, slipped: Sequence[str], rng: random.Random) -> list[ThinkingLine]:
    """Keep a model's own thinking text up to its first slip, take the slip back, and finish."""
    wrong = replay(problem, "".join(slipped)).unmarked[0]
    count = rng.randint(wrong + 1, min(wrong + 2, len(slipped)))
    kept = [ThinkingLine(text, taught=i < wrong) for i, text in enumerate(slipped[:count])]
    return [*kept, *_taken_back(problem), _conclusion(problem)]


def _first_part(sentences: list[ThinkingLine], rng: random.Random) -> list[ThinkingLine]:
    cut = rng.randint(1, max(1, len(sentences) - 1))
    while cut > 1 and not sentences[cut - 1].taught:
        cut -= 1  # never leave a slip unmarked
    first, *rest = sentences[:cut]
    return [ThinkingLine(first.text, taught=False), *rest]


def _slipping(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Make a slip at one step, perhaps continue from it, then mark it and repeat the step."""
    at = rng.randrange(len(problem.steps))
    slip, *later = _wrong_sums(problem.steps[at:], rng)
    before = _doubting(problem.steps[:at], rng)
    if rng.random() < 0.6:
        corrected = [*_taught(SLIP_MARK), *_doubting(problem.steps[at:], rng)]
        return [*before, ThinkingLine(f"{slip}.\n", taught=False), *corrected]
    wrong = [slip, *later[: rng.randint(0, 2)]]
    lost = [ThinkingLine(f"{text}.\n", taught=False) for text in wrong]
    return [*before, *lost, *_taken_back(problem)]


def _taken_back(problem: Problem) -> list[ThinkingLine]:
    restart = SLIP_MARK, AGAIN, f"Start with {problem.start}."
    return [*_taught(*restart), *_sums(problem.steps)]


def _wrong_sums(steps: Sequence[Step], rng: random.Random) -> list[str]:
    """Return sums that continue from a wrong first one."""
    step, *later = steps
    value = _wrong_value(step.after, rng)
    sums = [f"{step.sum.rsplit(' ', 1)[0]} {value}"]
    for step in later:
        effect = step.after - step.before
        after = value * step.amount if step.kind in ("double", "triple") else value + effect
        if after <= 0:
            break
        sums.append(Step(step.kind, step.verb, step.amount, value, after).sum)
        value = after
    return sums


def _wrong_value(right: int, rng: random.Random) -> int:
    near = (right + d for d in (-100, -20, -10, -9, -2, -1, 1, 2, 9, 10, 20, 100))
    return rng.choice([value for value in near if value > 0])


def _doubting(steps: Sequence[Step], rng: random.Random) -> list[ThinkingLine]:
    lines = []
    for step in steps:
        lines += _taught(f"{step.sum}.")
        if rng.random() < 0.12:
            lines += _taught(f"Check, {step.sum}.")
    return lines


def _sums(steps: Sequence[Step]) -> list[ThinkingLine]:
    return _taught(*(f"{step.sum}." for step in steps))


def _conclusion(problem: Problem) -> ThinkingLine:
    return ThinkingLine(f"{CONCLUSION} {problem.answer}.\n")


def _taught(*texts: str) -> list[ThinkingLine]:
    return [ThinkingLine(f"{text}\n") for text in texts]
