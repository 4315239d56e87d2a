from __future__ import annotations

import asyncio
import re
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from collab.core.cost import Cost
from collab.core.design import Design
from collab.core.trajectory import Message, Question, Trajectory, Unit, Wrote
from collab.episode.engine import Case, Episode
from collab.episode.team import Team
from collab.policies.solo import Solo
from collab.report.live import LoadMeter, RunProgress
from collab.runs.live_view import LiveView, LiveViewer
from collab.scenarios.base import Score

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Seat

NOWHERE = "http://127.0.0.1:9"


def case_of(name: str) -> Case:
    return Case(name, Question("q", (Message("user", "3 + 4?"),), "7"), Solo())


def grown(*authors: str) -> Trajectory:
    units = (Unit(author, "Hm. ", "generated", f"{author}\x1b[2J may") for author in authors)
    return Trajectory.replay([Wrote(unit) for unit in units])


def score_of(name: str, arm: str, correct: bool) -> Score:
    design = Design(arm=arm, pair=name, at=0.2)
    return Score(f"{name}/{arm}", name, "correct" if correct else "wrong", design, tokens=9)


def on_terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=140, height=30)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", console.file.getvalue())


async def test_a_picture_has_stages_servers_headline_and_hand_offs(seat: Seat) -> None:
    console, model = on_terminal(), await seat(NOWHERE)
    old = [score_of("a", "steer", correct=False), score_of("a", "none", correct=True)]
    live = RunProgress(console, scores=old)
    model.account.spent = Cost(3, prompt=200, cached=150, completion=40, money=1.5)
    async with live.watching(Team({"main": model})):
        live.expect("episodes", 4)
        live.grew(case_of("q1"), grown("main"))
        live.grew(case_of("q1"), grown("main", "guide"))
        live.grew(case_of("q1"), grown("main", "guide", "guide"))
        await asyncio.sleep(0)
    console.print(live)
    said = text(console)
    assert re.search(r"episodes .* 0/4", said)
    assert re.search(r"main +0 in flight +0 tokens/s +75 % cached +\$1.50", said)
    assert "steered 0 [0,79]   no steer 100 [21,100]" in said
    assert said.count("q1  main → guide: guide\\x1b[2J may") == said.count("main → guide")


async def test_what_stays_on_the_screen_are_the_stages(seat: Seat) -> None:
    console = on_terminal()
    live = RunProgress(console)
    async with live.watching(Team({"main": await seat(NOWHERE)})):
        live.expect("episodes", 1)
        live.grew(case_of("q1"), grown("main", "guide"))
        live.step("episodes")
    last = text(console).rstrip().splitlines()[-1]
    assert re.search(r"episodes .* 1/1", last)


async def test_elsewhere_than_on_a_terminal_there_are_plain_lines_alone(seat: Seat) -> None:
    out = StringIO()
    live = RunProgress(Console(file=out))
    async with live.watching(Team({"main": await seat(NOWHERE)})):
        live.expect("episodes", 2)
        live.grew(case_of("q1"), grown("main", "guide"))
        await asyncio.sleep(0)
        live.step("episodes")
        live.step("episodes")
    assert re.fullmatch(r"episodes: 2/2 \(.*/s\)\n", out.getvalue())


async def test_another_process_sees_an_episode_to_its_end(seat: Seat, tmp_path: Path) -> None:
    eye = LiveViewer(tmp_path)
    live = RunProgress(Console(file=StringIO()), LiveView(tmp_path))
    eye.look()
    live.grew(case_of("q1"), grown("main"))
    async with live.watching(Team({"main": await seat(NOWHERE)})):
        await asyncio.sleep(0)
        seen = eye.look()
        assert seen is not None
        assert seen.trajectory == grown("main")
        live.grew(case_of("q1"), grown("main", "guide"))
        score = score_of("q1", "steer", correct=False)
        live.ended(case_of("q1"), (Episode("q1", grown("main", "guide"), "answered"), score))
    seen = eye.look()
    assert seen is not None
    assert (seen.trajectory, seen.finish, seen.verdict) == (
        grown("main", "guide"),
        "answered",
        "wrong",
    )


async def test_an_episode_that_could_not_be_played_is_told_as_failed(tmp_path: Path) -> None:
    eye = LiveViewer(tmp_path)
    live = RunProgress(Console(file=StringIO()), LiveView(tmp_path))
    eye.look()
    live.grew(case_of("q1"), grown("main"))
    async with live.watching(Team({})):
        await asyncio.sleep(0)
        live.ended(case_of("q1"), None)
    seen = eye.look()
    assert seen is not None
    assert seen.finish == "failed"


async def test_tokens_are_counted_over_the_last_seconds(seat: Seat) -> None:
    now = 100.0
    meter = LoadMeter("main", await seat(NOWHERE), clock=lambda: now)
    spent = meter.model.account
    assert list(meter.parts()) == ["0 in flight", "0 tokens/s", "– cached", "0 written"]
    now, spent.spent = 102.0, Cost(completion=100, prompt=10)
    assert list(meter.parts())[1:] == ["50 tokens/s", "0 % cached", "100 written"]
    now, spent.spent = 111.0, Cost(completion=190, prompt=10)
    assert list(meter.parts())[1] == "10 tokens/s"
