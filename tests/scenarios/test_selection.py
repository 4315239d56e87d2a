"""What was selected by its outcome is never evidence: no bank draw is a control or an outcome."""

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from collab.core.policy import Policy
from collab.core.trajectory import Message, Question
from collab.policies.distractor import Distractor
from collab.policies.guide import Guide
from collab.scenarios.base import Scenario
from collab.scenarios.guidability import Guidability
from collab.scenarios.recoverability import Recoverability
from collab.store.draw_keys import BANK

Play = Callable[..., Awaitable[Any]]  # any: what conftest says a run comes to
ASKED = [Question(f"q{n}", (Message("user", f"Number {n}?"),), str(n)) for n in range(1, 5)]


def doubtful(chance: float) -> Callable[[str], list[str]]:
    """Script a model that is right now and then, wherever it starts from."""

    def go_on(prompt: str) -> list[str]:
        number = prompt.partition("Number ")[2].partition("?")[0]
        rng = Random(prompt)
        said = [number if rng.random() < chance else "9" for _ in range(64)]
        lead = "" if prompt.endswith("\n") else "\n"
        return [f"{lead}Hm. So it is {n}.\nI am sure of it.\n</think>\\boxed{{{n}}}" for n in said]

    return go_on


TWINS = [
    (
        Recoverability(samples=4, points=(0.0, 0.4), controls=("none", "phrase", "placebo")),
        Distractor(),
    ),
    (Recoverability(samples=4, steer="digits", points=(0.0,)), Distractor()),
    (Recoverability(samples=4, steer="wrong", points=(0.0, 0.4)), Distractor(times=2, length=0.1)),
    (
        Recoverability(samples=4, drawn="solve counts", corrector="corrector", points=(0.4,)),
        Distractor(),
    ),
    (Guidability(samples=4, solved_at_most=3, correct_traces_per_guide=2), Guide()),
    (Guidability(samples=4, solved_at_most=3, traces="wrong", lengths=(0.5,)), Guide()),
]


@pytest.mark.parametrize(("scenario", "policy"), TWINS)
async def test_no_draw_that_selected_is_a_control_or_an_outcome(
    play: Play, scenario: Scenario, policy: Policy
) -> None:
    scripts = {seat: doubtful(0.5) for seat in scenario.solos()}
    seats = ("distractor", "corrector")
    done = await play(scenario, policy, ASKED, scripts, seats)
    arms = Counter(score.design.arm for score in done.result.scores)
    controls = getattr(scenario, "controls", ())
    assert not done.result.failures
    assert set(arms) == {"steer", *controls}
    recorded: set[str] = set()
    drawn: list[str] = []
    for episode, _ in done.folder.episodes():
        for unit in (*episode.trajectory.units, *episode.trajectory.reply):
            if unit.kind == "recorded":
                recorded |= set(unit.generations)
            elif unit.kind == "generated":
                drawn += unit.generations
    assert drawn
    assert {int(key.rpartition("-")[2]) >= BANK for key in drawn} == {True}
    assert {int(key.rpartition("-")[2]) < BANK for key in recorded} == {True}
    assert not recorded & set(drawn)
