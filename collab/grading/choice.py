"""Multiple choice: the answer is the letter of an option, or its text."""

from __future__ import annotations

import re
from string import ascii_uppercase

from collab.core.trajectory import Question
from collab.grading import Judgement
from collab.grading.maths import last_box

END = 2_000
"""How much of a text is looked through for a letter that stands in no box: its end."""
WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
NAMED = re.compile(
    r"(?i:answer|option|choice)\W{0,4}(?:is|would be)?\W{0,6}([A-Z])(?![\w'])"
    r"|^\W{0,6}([A-Z])(?:[).:*]|\s*$)",
    re.MULTILINE,
)


class ChoiceGrader:
    """Reads a letter off the last box, or where there is none off the end of the text."""

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the text after the end of the thinking."""
        letters = ascii_uppercase[: len(question.options)]
        box = last_box(text)
        boxed = _letter(box, question.options, letters) if box else None
        found = boxed or _named(text[-END:], letters)
        if found is None:
            return Judgement("no answer" if box is None else "wrong", None, False, box)
        right = found == question.answer
        strict = right and boxed is not None
        return Judgement("correct" if right else "wrong", right, strict, found)


def _letter(said: str, options: tuple[str, ...], letters: str) -> str | None:
    """Return the option that is meant by its letter, alone or before its text, or by its text."""
    plain = " ".join(WRAPPED.sub(r"\1", said).strip(" $.").split())
    texts = [" ".join(option.split()).casefold() for option in options]
    if plain.casefold() in texts:
        return letters[texts.index(plain.casefold())]
    head = re.match(r"\(?([A-Za-z])(?:\W|$)", plain)
    return head[1].upper() if head and head[1].upper() in letters else None


def _named(text: str, letters: str) -> str | None:
    """Return the last letter that is called the answer, or that begins a line."""
    found = [one or other for one, other in NAMED.findall(text)]
    return next((letter for letter in reversed(found) if letter in letters), None)
