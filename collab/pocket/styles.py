"""Four ways of thinking aloud about a problem, and the sequences that teach them.

A thinking text is a list of sentences, each on its own line. A `ThinkingLine` that is not `taught`
is context: the model reads it and learns what comes after it, but not to write it. So are the slips
of the checking style, and the places where a derivation is started over in the middle of another
one of the same problem. No sequence holds anything of another problem.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collab.pocket.family import AGAIN, CONCLUSION, SLIP_MARK, Problem, Step, replay

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class ThinkingLine:
    """One line of thinking, with its newline."""

    text: str
    taught: bool = True


Style = Callable[[Problem, random.Random], list[ThinkingLine]]


def plain(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Think in sums alone."""
    return [*_sums(problem.steps), _conclusion(problem)]


def restating(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Say the problem again, then think in sums."""
    changes = ", ".join(step.said for step in problem.steps)
    opening = f"{problem.name} has {problem.start} {problem.item}.", f"{problem.pronoun} {changes}."
    return [*_taught(*opening), *_sums(problem.steps), _conclusion(problem)]


def strong(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Name each change before its sum."""
    said = [f"{problem.pronoun} {step.said}, so {step.sum}." for step in problem.steps]
    return [*_taught(*said), _conclusion(problem)]


def checking(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Think in sums, doubt some of them, take slips back and start over now and then."""
    begin = _taught(f"Start with {problem.start}.")
    if rng.random() < 0.3:
        return [*begin, *_slipping(problem, rng), _conclusion(problem)]
    sums = _doubting(problem.steps, rng)
    if rng.random() < 0.35:
        seen = rng.randint(1, len(sums))
        begin = [*begin, *sums[:seen], *_taught(AGAIN), *begin]
    return [*begin, *_doubting(problem.steps, rng), _conclusion(problem)]


STYLES: dict[str, Style] = {
    "plain": plain,
    "restating": restating,
    "checking": checking,
    "strong": strong,
}


def started_over(
    problem: Problem, style: Style, rng: random.Random, times: int = 1
) -> list[ThinkingLine]:
    """Break a derivation off and start it over, `times` times, then think to the end.

    The first sentence of each new start is context, so no model learns to start over from this.
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
    """Mark the first slip in a thinking text that a model wrote itself, and return from it."""
    wrong = replay(problem, "".join(slipped)).unmarked[0]
    seen = rng.randint(wrong + 1, min(wrong + 2, len(slipped)))
    kept = [ThinkingLine(text, taught=i < wrong) for i, text in enumerate(slipped[:seen])]
    return [*kept, *_taken_back(problem), _conclusion(problem)]


def _first_part(sentences: list[ThinkingLine], rng: random.Random) -> list[ThinkingLine]:
    cut = rng.randint(1, max(1, len(sentences) - 1))
    while cut > 1 and not sentences[cut - 1].taught:
        cut -= 1  # a slip is never left unmarked
    first, *rest = sentences[:cut]
    return [ThinkingLine(first.text, taught=False), *rest]


def _slipping(problem: Problem, rng: random.Random) -> list[ThinkingLine]:
    """Go wrong at one step, perhaps go on from there, then mark it and do it again."""
    at = rng.randrange(len(problem.steps))
    slip, *later = _wrong_way(problem.steps[at:], rng)
    said = _doubting(problem.steps[:at], rng)
    if rng.random() < 0.6:
        mended = [*_taught(SLIP_MARK), *_doubting(problem.steps[at:], rng)]
        return [*said, ThinkingLine(f"{slip}.\n", taught=False), *mended]
    seen = [slip, *later[: rng.randint(0, 2)]]
    lost = [ThinkingLine(f"{text}.\n", taught=False) for text in seen]
    return [*said, *lost, *_taken_back(problem)]


def _taken_back(problem: Problem) -> list[ThinkingLine]:
    begin = SLIP_MARK, AGAIN, f"Start with {problem.start}."
    return [*_taught(*begin), *_sums(problem.steps)]


def _wrong_way(steps: Sequence[Step], rng: random.Random) -> list[str]:
    """Say sums that go on from a wrong first one."""
    step, *later = steps
    value = _wrong_value(step.after, rng)
    said = [f"{step.sum.rsplit(' ', 1)[0]} {value}"]
    for step in later:
        effect = step.after - step.before
        after = value * step.amount if step.kind in ("double", "triple") else value + effect
        if after <= 0:
            break
        said.append(Step(step.kind, step.verb, step.amount, value, after).sum)
        value = after
    return said


def _wrong_value(right: int, rng: random.Random) -> int:
    near = (right + d for d in (-100, -20, -10, -9, -2, -1, 1, 2, 9, 10, 20, 100))
    return rng.choice([value for value in near if value > 0])


def _doubting(steps: Sequence[Step], rng: random.Random) -> list[ThinkingLine]:
    said = []
    for step in steps:
        said += _taught(f"{step.sum}.")
        if rng.random() < 0.12:
            said += _taught(f"Check, {step.sum}.")
    return said


def _sums(steps: Sequence[Step]) -> list[ThinkingLine]:
    return _taught(*(f"{step.sum}." for step in steps))


def _conclusion(problem: Problem) -> ThinkingLine:
    return ThinkingLine(f"{CONCLUSION} {problem.answer}.\n")


def _taught(*texts: str) -> list[ThinkingLine]:
    return [ThinkingLine(f"{text}\n") for text in texts]
