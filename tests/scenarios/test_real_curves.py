"""Published recovery curves drive the scripted reasoner, and the pipeline gives them back.

The data: for each sentence of a real trace, the share of about 100 fresh continuations from there
that came out right (thought-anchors.com; 18 traces that were right, 18 that were wrong).
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest

from collab.analysis.estimates import arm_of, effect_of, matched, share_of
from collab.core.boundary import cut_at_share
from collab.core.trajectory import Message, Question, Recording
from collab.policies.distractor import Distractor
from collab.policies.guide import Guide
from collab.scenarios.base import Score
from collab.scenarios.guidability import Guidability
from collab.scenarios.recoverability import Recoverability

Play = Callable[..., Awaitable[Any]]  # any: what conftest says a run comes to
FILE = Path(__file__).parents[3] / "shared/data/traces/prefix_continuation_accuracy.jsonl"
PHRASE = "Wait. Let me think.\n"
WORDS = 3
"""How much of each sentence is kept: what comes out depends on which one it is alone."""
POINTS = (0.0, 0.2, 0.4, 0.6, 0.8)
needs_curves = pytest.mark.skipif(not FILE.exists(), reason=f"needs {FILE}")


@dataclass(frozen=True)
class Curve:
    """A real trace in brief, and how often its prefixes were brought to a right answer."""

    question: Question
    text: str
    begins: Sequence[int]
    """Where each sentence begins (characters)."""
    accuracy: Sequence[float]

    def after(self, chars: int) -> float:
        """Return the published share for a prefix of so many characters."""
        return self.accuracy[max(n for n, begin in enumerate(self.begins) if begin <= chars)]

    def at(self, share: float) -> float:
        """Return the published share where a recording of the trace is cut."""
        return self.after(cut_at_share(Recording("", self.text, 0), share).chars)


def curves(right: bool, most: int) -> list[Curve]:
    """Read the traces that came out right, or wrong, each as a question of its own."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    made = []
    for nth, row in enumerate([row for row in rows if row["base_correct"] == right][:most], 1):
        text, begins = "", []
        for chunk in row["chunks"]:
            begins.append(len(text))
            text += " ".join(chunk["text"].replace("<", "(").split()[:WORDS]) + ".\n"
        asked = Question(f"q{nth}", (Message("user", f"Problem {nth}: solve it."),), str(nth))
        made.append(Curve(asked, text, begins, [c["accuracy"] for c in row["chunks"]]))
    return made


def reasoner(known: Iterable[Curve], steered: float = 0.5) -> Callable[[str], list[str]]:
    """Script a model that goes on from a prefix as well as was published; steered, less well."""
    by_number = {curve.question.answer: curve for curve in known}

    def go_on(prompt: str) -> list[str]:
        asked, _, thinking = prompt.rpartition("<think>\n")
        curve = by_number[asked.partition("Problem ")[2].partition(":")[0]]
        own, phrase, _ = thinking.partition(PHRASE)
        chance = curve.after(len(own.rstrip("\n"))) * (steered if phrase else 1)
        rest = "That is how I go on." if thinking else curve.text
        lead = "\n" if thinking and not thinking.endswith("\n") else ""
        right = [number < 100 * chance - 0.5 for number in range(100)]
        Random(prompt).shuffle(right)
        return [
            f"{lead}{rest}\n</think>\\boxed{{{curve.question.answer if is_so else 0}}}"
            for is_so in right
        ]

    return go_on


def within(scores: Sequence[Score], expected: float) -> None:
    rate = share_of(scores)
    assert rate.low <= expected <= rate.high, f"{rate} does not hold {expected:.3f}"


@needs_curves
@pytest.mark.parametrize(
    ("most", "samples", "points"),
    [(3, 4, (0.0, 0.6)), pytest.param(18, 8, POINTS, marks=pytest.mark.long)],
)
async def test_recovery_at_each_point_is_what_was_published(
    play: Play, most: int, samples: int, points: tuple[float, ...]
) -> None:
    known = {curve.question.id: curve for curve in curves(True, most)}
    scenario = Recoverability(samples=samples, points=points, controls=("none",))
    asked = [curve.question for curve in known.values()]
    done = await play(
        scenario,
        Distractor(phrase=PHRASE),
        asked,
        {"main": reasoner(known.values())},
        ["distractor"],
    )
    assert not done.result.failures
    for point in points:
        here = [score for score in done.result.scores if score.design.at == point]
        alone, steered = arm_of(here, "none"), arm_of(here, "steer")
        published = mean(known[score.question].at(point) for score in alone)
        within(alone, published)
        within(steered, published / 2)
        effect = effect_of(matched(here, "none"))
        assert effect.low <= -published / 2 <= effect.high


@needs_curves
async def test_wrong_traces_guide_as_badly_as_was_published(play: Play) -> None:
    known = {curve.question.id: curve for curve in curves(False, 4)}
    lengths = (0.2, 0.8)
    scenario = Guidability(
        samples=4, traces="wrong", correct_traces_per_guide=4, lengths=lengths, controls=("none",)
    )
    go_on = reasoner(known.values())

    def main(prompt: str) -> list[str]:
        return ["Hm.\n</think>\\boxed{0}"] if prompt.endswith("<think>\n") else go_on(prompt)

    asked = [curve.question for curve in known.values()]
    done = await play(scenario, Guide(), asked, {"main": main, "guide": go_on})
    assert not done.result.failures
    for length in lengths:
        here = [score for score in done.result.scores if score.design.length == length]
        steered = arm_of(here, "steer")
        within(steered, mean(known[score.question].at(length) for score in steered))
        assert not any(score.correct for score in arm_of(here, "none"))
