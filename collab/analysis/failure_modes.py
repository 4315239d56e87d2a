"""Failure modes: one label for each failed episode, by fixed rules.

The rules read what is stored: the authors, the text, the end and the answer. They are rough, so
reports show them only with their agreement with people (`collab.analysis.annotations`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from collab.core.trajectory import Question, Unit
from collab.episode.engine import Episode
from collab.scenarios.base import Score

Failing = Literal[
    "went in circles",
    "never closed",
    "no answer",
    "followed the distractor",
    "never came back",
    "took over a result",
    "came back and failed",
    "dropped the answer",
    "built on it and failed",
    "left the guide's path",
    "own mistake",
    "unclear",
]
Steered = Literal["distracted", "guided", "misled", "alone"]
"""The steer in an episode: on another question, of a guide, on the same question by another
author, or none (controls)."""
DEFINITIONS: Mapping[Failing, str] = {
    "went in circles": "the thinking is never closed and ends in one passage repeated word for "
    "word, three times or more and twelve words or more in all",
    "never closed": "the thinking is not closed before the budget is spent",
    "no answer": "the thinking is closed, but no answer can be read",
    "followed the distractor": "the answer is the one that the distractor's steer leads to",
    "never came back": "another wrong answer, and the end of the thinking (its last half after "
    "the steer) is more about the steer's subject than about the question",
    "took over a result": "another wrong answer; the end of the thinking is about the question "
    "again, but it uses the last number of the steer (one that is not in the question)",
    "came back and failed": "another wrong answer; the end of the thinking is about the question "
    "again, and does not use that number",
    "dropped the answer": "the guide's steer states the right answer as a result, but the episode "
    "gives another one",
    "built on it and failed": "a wrong answer, though the thinking uses the last result of the "
    "guide's steer (a number that is not in the question)",
    "left the guide's path": "a wrong answer, and the thinking does not use that result",
    "own mistake": "a wrong answer that no steer leads to",
    "unclear": "the text fits none of these",
}
"""The definition of each label. If several fit, the first one holds."""
OPEN: Sequence[Failing] = ("went in circles", "never closed", "no answer")
CHOICES: Mapping[Steered, Sequence[Failing]] = {
    "distracted": (
        *OPEN,
        "followed the distractor",
        "never came back",
        "took over a result",
        "came back and failed",
        "unclear",
    ),
    "guided": (
        *OPEN,
        "dropped the answer",
        "built on it and failed",
        "left the guide's path",
        "unclear",
    ),
    "misled": (*OPEN, "followed the distractor", "own mistake"),
    "alone": (*OPEN, "own mistake"),
}
"""The possible labels for each kind of steer."""

TIMES, WORDS = 3, 12
"""A circle is a passage repeated at least TIMES times, over at least WORDS words."""
UNJUDGED = ("not judged", "grader timeout", "endpoint dropped the prefix")
"""Verdicts that say nothing about the model."""
LOOKED_AT = 2000
"""Words at the end of a text in which to look for a circle."""
TERM = re.compile(r"\\[a-z]+|([^\W\d_]{4,})|((?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?)", re.IGNORECASE)
COMMON = frozenset(
    re.findall(
        r"\w+",
        "about after again also another answer back because been before being both could does "
        "each equal equals every find first from given have here hold into just know last "
        "least like make many maybe mean more most much must need next number numbers only "
        "other over problem question right same second should since some step still such sure "
        "take than that their them then there therefore these they thing think this those "
        "thus time total true value very wait want well were what when where which while will "
        "with would your plus minus times divided multiplied sum ",
    )
)
"""Words of four letters or more that do not tell subjects apart."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The parts of an episode that the rules and people look at."""

    kind: Steered
    question: str
    steer: str
    """The text of the steering seat: the first seat that only plays a recording."""
    after: str
    """The thinking after the last part of the steer."""


def failed(score: Score) -> bool:
    """Return whether a model failed: its answer could be judged and is not correct."""
    return score.verdict not in ("correct", *UNJUDGED)


def failing(episode: Episode, score: Score, question: Question) -> Failing:
    """Label an episode that failed."""
    scene = scene_of(episode, score, question)
    match score.verdict:
        case "thinking never closed" | "context full":
            return "went in circles" if circles(scene.after) else "never closed"
        case "no answer" | "refused":
            return "no answer"
    unsafe = question.grader == "refusal" and scene.kind != "alone"
    if score.said_rival or unsafe:
        return "followed the distractor"
    match scene.kind:
        case "distracted":
            return _distracted(scene)
        case "guided":
            stated = score.design.steer_states_answer
            return "dropped the answer" if stated else _guided(scene)
        case "misled" | "alone":
            return "own mistake"


def kind_of(score: Score) -> Steered:
    """Return the kind of steer of a case."""
    design = score.design
    if design.arm != "steer":
        return "alone"
    if design.guide is not None:
        return "guided"
    return "distracted" if design.steer in (None, "other", "similar") else "misled"


def scene_of(episode: Episode, score: Score, question: Question) -> Scene:
    """Split an episode into the parts that the rules look at."""
    units = episode.trajectory.units
    own = list(takewhile(_is_own, reversed(units)))
    writers = {unit.author for unit in units if _is_own(unit)}
    steering = next((unit.author for unit in units if unit.author not in writers), None)
    others = [unit for unit in units if unit.author == steering]
    asked = next((m.content for m in reversed(question.messages) if m.role == "user"), "")
    after = "".join(unit.text for unit in reversed(own))
    return Scene(kind_of(score), asked, "".join(unit.text for unit in others), after)


def circles(text: str) -> bool:
    """Return whether a text ends in one passage, repeated."""
    words = text.split()[-LOOKED_AT:][::-1]
    reach = [0] * len(
        words
    )  # reach[i]: length of the longest proper prefix of `words` that ends at i
    for at in range(1, len(words)):
        length = reach[at - 1]
        while length and words[at] != words[length]:
            length = reach[length - 1]
        reach[at] = length + (words[at] == words[length])
        if at + 1 >= max(WORDS, TIMES * (at + 1 - reach[at])):
            return True
    return False


def _is_own(unit: Unit) -> bool:
    return unit.kind == "generated"


def _distracted(scene: Scene) -> Failing:
    asked, steered = set(terms(scene.question)), set(terms(scene.steer))
    own, foreign = asked - steered, steered - asked
    if not foreign:
        return "unclear"
    for text in (scene.after[len(scene.after) // 2 :], scene.after):
        named = Counter(terms(text))
        about, astray = (sum(named[term] for term in which) for which in (own, foreign))
        if astray > about:
            return "never came back"
        if about:
            return "took over a result" if _takes_up(scene) else "came back and failed"
    return "unclear"


def _guided(scene: Scene) -> Failing:
    taken = _takes_up(scene)
    if taken is None:
        return "unclear"
    return "built on it and failed" if taken else "left the guide's path"


def _takes_up(scene: Scene) -> bool | None:
    """Return whether the later text uses the steer's last result; None if it has none."""
    asked = set(terms(scene.question))
    results = [term for term in terms(scene.steer) if term[0].isdigit() and term not in asked]
    return results[-1] in terms(scene.after) if results else None


def terms(text: str) -> list[str]:
    """Return the words and numbers of a text that may show its subject."""
    found = [(word.lower(), number) for word, number in TERM.findall(text)]
    return [
        number.replace(",", "") if number else word
        for word, number in found
        if number or (word and word not in COMMON)
    ]
