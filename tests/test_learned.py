"""What the pocket reasoners show is learned: it holds on other seeds and questions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from collab.analysis.stats import Rate, difference, paired_effect
from collab.app.compose import composed
from collab.app.session import decides, opened
from collab.episode.engine import Case, play_case
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.runs.run import SilentStages, each, empty_bank, fill, grade, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Plan, Score
from collab.store.draw_keys import BANK

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def overrides(folder: Path, model: str, seed: int, replicate: int) -> list[str]:
    return [
        "twin=recoverability",
        f"model@team.main=pocket_{model}",
        f"runs={folder}",
        f"questions.seed={seed}",
        f"replicate={replicate}",
        "questions.count=60",
        "scenario.originals=150",
        "scenario.points=[0.0,0.4]",
        "budget=600",
    ]


async def scores_of(folder: Path, model: str, seed: int, replicate: int = 0) -> Sequence[Score]:
    built = composed(overrides(folder, model, seed, replicate))
    with RunFolder.enter(folder / f"{model}-{seed}-{replicate}", decides(built), {}) as place:
        async with opened(built) as (setup, _):
            return (await run(setup, place, SilentStages())).scores


def rate(scores: Sequence[Score], arm: str) -> Rate:
    of = [score.correct for score in scores if score.design.arm == arm]
    return Rate(sum(of), len(of))


@pytest.mark.parametrize("model", ["plain", "restating", "checking"])
def test_other_questions_and_other_seeds_give_the_same_picture(model: str, tmp_path: Path) -> None:
    first = asyncio.run(scores_of(tmp_path, model, seed=11))
    other_questions = asyncio.run(scores_of(tmp_path, model, seed=12))
    other_draws = asyncio.run(scores_of(tmp_path, model, seed=11, replicate=1))
    for arm in ("steer", "none", "placebo"):
        for other in (other_questions, other_draws):
            apart = difference(rate(first, arm), rate(other, arm))
            # cases of one question belong together, so the honest interval is wider than this one
            assert apart.low - 0.08 <= 0 <= apart.high + 0.08, (arm, str(apart))


async def control_and_solo(folder: Path) -> tuple[list[Score], list[Score]]:
    """Play the control at insertion point 0, and as many fresh solo draws of the same questions."""
    built = composed(overrides(folder, "restating", 21, 0))
    async with opened(built) as (setup, _):
        bank = empty_bank(setup)
        await fill(bank, setup, SilentStages(), {})
        plan = await Plan.of(setup.scenario.cases(bank, setup.policy))
        control = [c for c in plan.cases if c.design.arm == "none" and c.design.at == 0]
        solo = [
            Case(f"{c.id}/solo", c.question, Solo(), design=c.design, labels=c.labels)
            for c in control
        ]
        scores: dict[str, Score] = {}
        banked = {s.generation for q in setup.questions for s in bank.of("main", q)}
        assert isinstance(setup.team["main"], Model)

        async def one(case: Case) -> None:
            episode = await play_case(case, setup.team, until=setup.until, budget=setup.budget)
            units = [*episode.trajectory.units, *episode.trajectory.reply]
            keys = {key for unit in units for key in unit.generations}
            assert keys.isdisjoint(banked)
            assert all(int(key.rpartition("-")[2]) >= BANK for key in keys)
            scores[case.id] = await grade(setup.grader, case, episode)

        await each([*control, *solo], one, setup.concurrency)
    return [scores[c.id] for c in control], [scores[c.id] for c in solo]


def test_the_control_at_insertion_point_0_agrees_with_fresh_solo_draws(tmp_path: Path) -> None:
    control, solo = asyncio.run(control_and_solo(tmp_path))
    effect = paired_effect(
        [score.correct for score in control],
        [score.correct for score in solo],
        [score.question for score in control],
    )
    assert len(control) >= 100
    assert effect.low <= 0 <= effect.high, str(effect)
