"""A whole run of a scenario with scripted models: real servers, store, grader and folder."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from collab.core.boundary import Answer
from collab.core.policy import Policy
from collab.core.trajectory import Question
from collab.endpoints.scripted import Script, ScriptedServer
from collab.episode.reasoner import Reasoner, Recorded
from collab.episode.team import Team
from collab.grading import Graders
from collab.grading.choice import ChoiceGrader
from collab.grading.maths import MathsGrader, MathsSettings
from collab.grading.refusal import RefusalGrader
from collab.reasoners.model import Model
from collab.runs.run import RunResult, Setup, SilentStages, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Scenario

Sit = Callable[..., Awaitable[Model]]


@dataclass(frozen=True)
class Played:
    """What a run came to, and where."""

    result: RunResult
    folder: RunFolder


class Play(Protocol):
    """Play a scenario with a script in each seat; the seats named last are recordings."""

    def __call__(
        self,
        scenario: Scenario,
        policy: Policy,
        questions: Iterable[Question],
        scripts: Mapping[str, Script],
        recorded: Iterable[str] = (),
    ) -> Awaitable[Played]: ...


@pytest.fixture
async def play(seat: Sit, tmp_path: Path) -> AsyncIterator[Play]:
    """Return how to play a scenario; the runs of one test share a store."""
    async with AsyncExitStack() as stack:
        maths = await stack.enter_async_context(MathsGrader(MathsSettings(workers=1)))
        grader = Graders({"maths": maths, "choice": ChoiceGrader(), "refusal": RefusalGrader()})
        runs = 0

        async def go(
            scenario: Scenario,
            policy: Policy,
            questions: Iterable[Question],
            scripts: Mapping[str, Script],
            recorded: Iterable[str] = (),
        ) -> Played:
            nonlocal runs
            runs += 1
            seats: dict[str, Reasoner] = {name: Recorded() for name in recorded}
            for name, script in scripts.items():
                served = ScriptedServer(script, models=(f"{name}@{runs}",), context=200_000)
                server = await stack.enter_async_context(served)
                seats[name] = await seat(server.url, f"{name}@{runs}", text=True)
            setup = Setup(
                scenario=scenario,
                policy=policy,
                questions=list(questions),
                team=Team(seats),
                grader=grader,
                until=Answer(),
                budget=100_000,
                concurrency=8,
            )
            with RunFolder.enter(tmp_path / f"run{runs}", {}, {}) as folder:
                return Played(await run(setup, folder, SilentStages()), folder)

        yield go
