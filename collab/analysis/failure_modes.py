"""How an episode went wrong: one label for each that failed, by rules that are written down.

The rules read what is stored: who wrote what, how it ended, what was answered. They are rough:
reports show them only with how well they agree with people (`collab.analysis.annotations`).
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
"""Whose steer stands in an episode: one on another question, a guide's, one on the same question
that is no guide's, or none (the controls)."""
DEFINITIONS: Mapping[Failing, str] = {
    "went in circles": "the thinking is never closed, and its end is one passage over and over: "
    "word for word, three times or more, twelve words or more in all",
    "never closed": "the thinking is not closed before its tokens are used up",
    "no answer": "the thinking is closed, but no answer can be read",
    "followed the distractor": "the answer given is the one that the distractor's steer leads to",
    "never came back": "another wrong answer, and the end of the thinking (its last half behind "
    "the steer) is rather about what the steer is about than about the question",
    "took over a result": "another wrong answer; the end of the thinking is about the question "
    "again, but it takes up the last number of the steer (one that the question does not name)",
    "came back and failed": "another wrong answer; the end of the thinking is about the question "
    "again, and that number is not taken up",
    "dropped the answer": "the guide's steer states the right answer as a result, and another one "
    "is given",
    "built on it and failed": "a wrong answer, though the thinking takes up the last result of the "
    "guide's steer (a number that the question does not name)",
    "left the guide's path": "a wrong answer, and that result is not taken up",
    "own mistake": "a wrong answer to which no steer leads",
    "unclear": "none of these can be told from the text",
}
"""What each label means; of several that fit, the first holds."""
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
"""What may go wrong in an episode of each kind."""

TIMES, WORDS = 3, 12
"""How often a passage is repeated that is a circle, and how many words that makes at least."""
UNJUDGED = ("not judged", "grader timeout", "endpoint dropped the prefix")
"""Verdicts that say nothing of the model."""
LOOKED_AT = 2000
"""Words at the end in which a circle is looked for."""
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
"""Words of four letters or more that tell no subject from another."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the rules, and people, look at."""

    kind: Steered
    question: str
    steer: str
    """What the seat wrote that steers: the first that only plays a recording."""
    after: str
    """The thinking behind the last of that."""


def failed(score: Score) -> bool:
    """Say whether a model failed: it did not solve its question, and that could be judged."""
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
    """Say whose steer a case has."""
    design = score.design
    if design.arm != "steer":
        return "alone"
    if design.guide is not None:
        return "guided"
    return "distracted" if design.steer in (None, "other", "similar") else "misled"


def scene_of(episode: Episode, score: Score, question: Question) -> Scene:
    """Take an episode apart."""
    units = episode.trajectory.units
    own = list(takewhile(_is_own, reversed(units)))
    writers = {unit.author for unit in units if _is_own(unit)}
    steering = next((unit.author for unit in units if unit.author not in writers), None)
    others = [unit for unit in units if unit.author == steering]
    asked = next((m.content for m in reversed(question.messages) if m.role == "user"), "")
    after = "".join(unit.text for unit in reversed(own))
    return Scene(kind_of(score), asked, "".join(unit.text for unit in others), after)


def circles(text: str) -> bool:
    """Say whether a text ends in one passage over and over."""
    words = text.split()[-LOOKED_AT:][::-1]
    reach = [0] * len(words)  # how long a begin of `words` ends at each place, short of all there
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
    """Say whether the steer's last result stands in what came after; None where it has none."""
    asked = set(terms(scene.question))
    results = [term for term in terms(scene.steer) if term[0].isdigit() and term not in asked]
    return results[-1] in terms(scene.after) if results else None


def terms(text: str) -> list[str]:
    """Return the words and numbers of a text that may say what it is about."""
    found = [(word.lower(), number) for word, number in TERM.findall(text)]
    return [
        number.replace(",", "") if number else word
        for word, number in found
        if number or (word and word not in COMMON)
    ]
