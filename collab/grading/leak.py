"""Leaks: does a text give an answer away?

It may name the answer, or state it as a result; whether a model can recover it is for that model to
show (`policies/guide.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal

from collab.core.trajectory import Question
from collab.errors import GradingError
from collab.grading import Grader

CANDIDATES = 32
"""How many results of a text are compared at most: the last ones."""
LONGEST = 200
"""Characters that a result may have."""
FIGURE = re.compile(r"(?:\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?!\d)|\d+)(?:\.\d+)?")
NUMBER = re.compile(rf"([-−+]?)({FIGURE.pattern})")
GROUPING = re.compile(r",|\{,\}|\\,")
BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
SAID = re.compile(
    r"(?:(?<!here )\b(?:is|are|equals?|get|gets|obtain|gives|makes|answer:|result:)|=|≈|\\approx)"
    r"(?:\s*\b(?:exactly|just|simply|now|then|equal to|therefore|thus)\b)*[\s:*]*"
    r"(?P<result>(?:(?![=≈;\n]|\\approx|[.,!?](?:\s|$)).)+)"
)


def mentions(text: str, answer: str | None) -> bool:
    """Say whether a text names an answer: a number by its value, else a word of its own."""
    if not answer:
        return False
    wanted = number(answer)
    if wanted is not None:
        return wanted in _numbers(text)
    at = -1
    while (at := text.find(answer, at + 1)) >= 0:
        if _stands_alone(text, at, at + len(answer)):
            return True
    return False


def number(text: str) -> Decimal | None:
    """Read a plain decimal number, with or without marks between its thousands."""
    found = NUMBER.fullmatch(text.strip().strip("$"))
    if found is None:
        return None
    value = Decimal(GROUPING.sub("", found[2]))
    return value if found[1] in ("", "+") else -value


def _numbers(text: str) -> Iterator[Decimal]:
    """Yield the values of the numbers in a text that are no part of a word or another number."""
    for found in FIGURE.finditer(text):
        if _stands_alone(text, found.start(), found.end()):
            value = Decimal(GROUPING.sub("", found[0]))
            yield -value if _is_negative(text, found.start()) else value


def _is_negative(text: str, at: int) -> bool:
    """Tell whether a sign is right before a place, with nothing to subtract from."""
    if text[max(at - 1, 0) : at] not in ("-", "−"):
        return False
    before = text[max(at - 2, 0) : at - 1]
    return not (before.isalnum() or before in (")", "]", "}"))


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return not _joins(before[-1:], before[-2:-1]) and not _joins(after[:1], after[1:])


def _joins(char: str, beyond: str) -> bool:
    """Say whether a neighbouring character belongs to the same word or number."""
    return char.isalnum() or (char in (".", ",") and beyond.isdigit())


def results(text: str) -> list[str]:
    """Return the results that a text states: in boxes, or after `=`, `is` and the like.

    Each is given once, the last one first.
    """
    found = [(one.start(), one[1]) for one in BOXED.finditer(text)]
    found += [(one.start(), one["result"]) for one in SAID.finditer(text)]
    stated = (_bare(said) for _, said in sorted(found, reverse=True))
    return list(dict.fromkeys(one for one in stated if one and len(one) <= LONGEST))[:CANDIDATES]


def _bare(said: str) -> str:
    """Remove the marks of a formula."""
    return said.strip(" $*").removeprefix(r"\(").removesuffix(r"\)").strip()


async def states(grader: Grader | None, question: Question, text: str) -> bool:
    """Tell whether a text states the known answer as a result, in any form."""
    if question.answer is None:
        return False
    said = await asyncio.gather(*(agrees(grader, question, one) for one in results(text)))
    return any(said)


async def agrees(grader: Grader | None, question: Question, answer: str | None) -> bool:
    """Tell whether an answer equals the known one.

    Args:
        grader: Compares texts that differ and are no plain numbers; None: they are unequal.
        question: The question with the known answer.
        answer: The answer, as it would be in a box.
    """
    known = question.answer
    if answer is None or known is None:
        return False
    if answer.strip() == known.strip():
        return True
    one, other = number(answer), number(known)
    if grader is None or question.grader != "maths" or (one is not None and other is not None):
        return one is not None and one == other
    try:
        return (await grader.grade(question, rf"\boxed{{{answer}}}")).lenient is True
    except GradingError:  # an unreadable answer equals nothing
        return False
