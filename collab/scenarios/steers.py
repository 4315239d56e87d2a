"""The kinds of steers: other thinking, or the original's own thinking made wrong or noisy.

Sources: a trajectory on another question, paper §2.1; the four unhelpful thoughts (uninformative,
irrelevant, misdirecting, incorrect), Yang et al. 2025, arXiv:2506.10979; noisy rationales, Zhou et
al. 2024 (irrelevant and inaccurate thoughts between the steps); digit corruption, the authors'
answer to their reviewers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Literal

from collab.core.boundary import Cut, Cutting, cut_at_share, part
from collab.core.sentences import sentence_ends
from collab.core.trajectory import Question, Recording
from collab.errors import ConfigError
from collab.questions.files import rows_of
from collab.questions.table import BadRow
from collab.scenarios.base import Bank, rank
from collab.scenarios.pairs import differs
from collab.scenarios.selection import SoloTrajectory

SteerKind = Literal[
    "other", "similar", "wrong", "uninformative", "given", "digits", "inaccurate", "noise"
]
"""`other`: a trajectory on another question (irrelevant). `similar`: one on the question with the
most similar words (misdirecting). `wrong`: a wrong trajectory on this question (incorrect).
`uninformative`: thinking without content. `given`: from a file. The other kinds change the next
stretch of the original: its numbers are changed (`digits`), each sentence is repeated with other
numbers (`inaccurate`), or sentences of a trajectory on another question are mixed in (`noise`)."""
STRETCHES = frozenset({"digits", "inaccurate", "noise"})
"""Kinds that continue the original where it was cut, without a transition phrase."""
UNCOUNTED = STRETCHES | {"uninformative", "given"}
"""Kinds whose text does not have its author's tokens."""
FOREIGN = frozenset({"other", "similar", "noise"})
"""Kinds that need a trajectory on another question."""
NUMBER = re.compile(r"(?<![\w.])\d+(?!\w)")
WORD = re.compile(r"[^\W\d_]+")
FILLER = (
    "Hmm, this is something to think about.",
    "Let me take a moment before I go on.",
    "There are many ways in which one could look at this.",
    "Some of them may turn out to be useful, and others may not.",
    "It is good to be careful here.",
    "So I want to get this right.",
    "I keep turning it over in my head.",
    "That is one way to see it, and there may well be another.",
    "In any case, it deserves some patience.",
    "I wonder how it will come out in the end.",
)


def filler(original: SoloTrajectory) -> SoloTrajectory:
    """Return thinking without content, which fits any question."""
    text = " ".join(FILLER) + "\n"
    return SoloTrajectory(original.question, Recording("filler", text, 0, answer="", closed=False))


def wrong(bank: Bank, seat: str, original: SoloTrajectory) -> SoloTrajectory | None:
    """Return a seat's complete, wrong trajectory on the same question; None if it has none."""
    found = [
        one
        for one in bank.of(seat, original.question)
        if one.closed and not one.correct and one.extracted is not None and one.text.strip()
    ]
    key = original.solo.draw
    chosen = min(found, key=lambda one: rank("wrong", key, one.draw), default=None)
    return None if chosen is None else SoloTrajectory(original.question, chosen)


async def similar(
    bank: Bank, original: SoloTrajectory, pool: Iterable[SoloTrajectory]
) -> SoloTrajectory | None:
    """Return the trajectory whose question is most similar and has another answer.

    Similarity is the share of words that both questions have (Jaccard); numbers do not count.
    """
    near = sorted(pool, key=lambda one: (-_overlap(original, one), rank(one.question.id)))
    for one in near:
        if await differs(bank, original, one):
            return one
    return None


def _overlap(one: SoloTrajectory, other: SoloTrajectory) -> float:
    words, others = _words(one.question), _words(other.question)
    return len(words & others) / max(len(words | others), 1)


def _words(question: Question) -> set[str]:
    return set(WORD.findall(question.messages[-1].content.lower()))


def thoughts(path: Path) -> dict[str, str]:
    """Load the thoughts of a file by question.

    A line is an object with `question`, an id or the text, and `thought`.

    Raises:
        ConfigError: A line is something else; the message names the line.
    """
    found: dict[str, str] = {}
    for place, row in rows_of(path, str(path), ".jsonl"):
        if isinstance(row, BadRow):
            raise ConfigError(f"scenario.thoughts: {place} {row}")
        question, thought = row.get("question"), row.get("thought")
        if not (isinstance(question, str) and isinstance(thought, str) and thought.strip()):
            raise ConfigError(
                f"scenario.thoughts: {place} needs texts in 'question' and 'thought' "
                f"(its keys: {', '.join(map(str, row))})"
            )
        found[question] = thought
    return found


def given(of: Mapping[str, str], original: SoloTrajectory) -> SoloTrajectory | None:
    """Return the thought for a question; None if the file has none."""
    asked = original.question
    wording = asked.messages[-1].content
    text = of.get(asked.id) or next((of[name] for name in of if name.strip() in wording), None)
    if text is None:
        return None
    return SoloTrajectory(asked, Recording("given", text, 0, closed=False))


def stretch(original: SoloTrajectory, own: Cut, until: float, by: Cutting) -> Recording:
    """Return the original's text from the cut to a share of it."""
    return part(original.solo, own, cut_at_share(original.solo, until, own.chars, by))


def spoiled(kind: SteerKind, own: Recording, partner: SoloTrajectory) -> Recording:
    """Return a stretch made wrong or noisy, as a recording without tokens."""
    match kind:
        case "digits":
            text = other_numbers(own.text)
        case "inaccurate":
            text = _joined(_doubled(_sentences(own.text)))
        case _:
            foreign = cycle(_sentences(partner.solo.text))
            text = _joined(_between(_sentences(own.text), foreign))
    return replace(own, text=text, ids=None, ends=None, tokenizer=None, extracted=None)


def other_numbers(text: str) -> str:
    """Replace every number of a text by another with as many digits; equal numbers stay equal."""
    taken: dict[str, str] = {}

    def change(found: re.Match[str]) -> str:
        number = found[0]
        if number not in taken:
            least = 0 if len(number) == 1 else 10 ** (len(number) - 1)
            span = 10 ** len(number) - least
            step = 1 + int.from_bytes(rank("number", text, number), "big") % (span - 1)
            taken[number] = str(least + (int(number) - least + step) % span)
        return taken[number].rjust(len(number), "0")

    return NUMBER.sub(change, text)


def _sentences(text: str) -> list[str]:
    ends = [*sentence_ends(text), len(text)]
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece.strip()]


def _doubled(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield sentence
        if NUMBER.search(sentence):
            yield other_numbers(sentence)


def _between(sentences: Sequence[str], others: Iterator[str]) -> Iterator[str]:
    for sentence in sentences:
        yield sentence
        yield next(others)


def _joined(sentences: Iterable[str]) -> str:
    text = ""
    for sentence in sentences:
        apart = not text or text[-1].isspace() or sentence[0].isspace()
        text += sentence if apart else " " + sentence
    return text
