"""A real vLLM serves a shipped checkpoint: it reads and writes what the pocket server does."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from collab.app.compose import composed
from collab.app.model_identity import serves
from collab.config.config import ModelConfig
from collab.core.boundary import Answer, Boundary, Sentence, Tokens, Words
from collab.core.sampling import Request, Sampling
from collab.core.trajectory import Trajectory
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect
from collab.endpoints.doctor import Doctor
from collab.endpoints.launch import Launcher
from collab.endpoints.owner import RunningServer
from collab.endpoints.profile import DialectName, Profile
from collab.endpoints.registry import choose
from collab.endpoints.spec import VllmSpec
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.errors import ContextFull, Rejected
from collab.pocket.model import PocketNetwork as Weights
from collab.policies.alternate import Alternate
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.store.store import Store
from tests.engines.installed import interpreter
from tests.engines.openings import (
    CONTEXT,
    FOLDER,
    FRAME,
    GREEDY,
    IDS,
    LONGEST,
    NAME,
    OPENINGS,
    RIVALS,
    TEXT,
    TIE,
    TOKENIZER,
    Bank,
    continued,
    laid,
    opening,
    parted,
    seated,
)

if TYPE_CHECKING:
    from tests.conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

KEY = "COLLAB_TEST_VLLM_KEY"
SEATED = (f"team.main.id={NAME}", f"team.main.checkpoint={FOLDER}")
ARGS = "--max-num-seqs 64 --enforce-eager --block-size 32"
ENV = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_MAX_STOP_STRINGS": "4",  # its own default: what a server has that others started
}
HANDOFFS = 200
"""With the openings, a thousand prompts that vLLM must read as they were laid."""


@dataclass(frozen=True)
class Bench:
    """One checkpoint behind both servers."""

    pocket: Endpoint
    vllm: Endpoint
    store: Store


@dataclass(frozen=True)
class ReadBack:
    client: httpx2.AsyncClient

    async def __call__(self, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
        body = {"model": NAME, "prompt": prompt, "max_tokens": 1}
        flags = {"add_special_tokens": False, "return_token_ids": True}
        reply = await self.client.post("/v1/completions", json=body | flags)
        choice: dict[str, Any] = reply.json()["choices"][0]  # Any: JSON
        return tuple(choice["prompt_token_ids"])


@pytest.fixture(scope="module")
def launch() -> ModelConfig:
    """What `model@team.main=vllm_launch` composes to for the installed vLLM."""
    words = [
        "model@team.main=vllm_launch",
        *SEATED,
        f"team.main.launch.python={interpreter('vllm')}",
        f"team.main.launch.args='{ARGS}'",
        f"team.main.context={CONTEXT}",
        "team.main.dtype=float32",
        *(f"+team.main.launch.env.{name}={value}" for name, value in ENV.items()),
        "team.main.launch.startup=600",
    ]
    model = composed(words).config.team["main"]
    assert isinstance(model, ModelConfig)
    assert isinstance(model.launch, VllmSpec)
    return model


@pytest.fixture(scope="module")
def server(
    launch: ModelConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The one vLLM of all these tests."""
    launcher = Launcher(tmp_path_factory.mktemp("servers"))
    with asyncio.Runner() as runner:
        try:
            assert launch.launch is not None
            yield runner.run(launcher.start(launch.launch, serves(launch)))
        finally:
            runner.run(launcher.close())


@pytest.fixture(scope="module")
def bank(server: RunningServer, pocket: Served, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return asyncio.run(Bank.draw(pocket.url, tmp_path_factory.mktemp("bank") / "store.sqlite"))


@pytest.fixture
async def bench(server: RunningServer, pocket: Served, store: Store) -> AsyncIterator[Bench]:
    async with (
        Endpoint(pocket.url, NAME, TOKENIZER) as ours,
        Endpoint(server.url, NAME, TOKENIZER, api_key=server.api_key) as theirs,
    ):
        await check(theirs, IDS, TOKENIZER)
        yield Bench(ours, theirs, store)


@pytest.fixture
async def read_back(server: RunningServer) -> AsyncIterator[ReadBack]:
    """Ask vLLM itself which ids it reads, past all code of ours."""
    headers = {"authorization": f"Bearer {server.api_key}"}
    async with httpx2.AsyncClient(
        base_url=server.url, trust_env=False, headers=headers, timeout=600
    ) as client:
        yield ReadBack(client)


async def test_the_server_is_what_the_check_at_the_start_of_a_run_wants(bench: Bench) -> None:
    profile = await check(bench.vllm, IDS, TOKENIZER)
    assert (profile.dialect, profile.returns_ids, profile.checked) == ("ids", True, "real")
    assert (profile.max_model_len, profile.max_stops) == (CONTEXT, 4)
    assert (await check(bench.vllm, TEXT, TOKENIZER)).dialect == "text"


async def test_the_prompt_of_every_opening_is_read_as_it_was_laid(
    bank: Bank, read_back: ReadBack
) -> None:
    for question, trajectory in bank.openings:
        prompt = laid(question, trajectory)
        assert await read_back(prompt) == prompt
        text = TOKENIZER.decode(prompt)
        assert text == FRAME.head(question.messages) + trajectory.thinking
        assert (text.count("<think>"), text.count("</think>")) == (1, 0)
    assert len(bank.openings) == OPENINGS


async def test_every_handed_over_thought_is_read_as_it_was_laid(
    bench: Bench, bank: Bank, pocket: Served
) -> None:
    main = seated(bench.vllm, bench.store, Sampling())
    handed = 0
    async with Endpoint(pocket.url, "checking") as stranger:
        partner = Model(
            "a stranger", stranger, TEXT, None, bench.store, Sampling(), context=CONTEXT
        )
        team = Team({"main": main, "partner": partner})
        for question, _ in itertools.cycle(bank.recordings):
            case = Case(f"{question.id}/{handed}", question, Alternate(seats=("partner", "main")))
            episode = await play_case(case, team, until=Sentence(), budget=500)
            assert episode.finish != "prompt changed"
            seams = [unit.seams for unit in episode.trajectory.units if unit.author == "main"]
            handed += sum(one.runs > 0 for one in seams if one is not None)
            if handed >= HANDOFFS:
                break


@pytest.mark.parametrize("name", ["ids", "text"])
async def test_the_doctor_finds_it_sound(server: RunningServer, name: DialectName) -> None:
    def dialect(profile: Profile) -> Dialect:
        return choose(profile, FRAME, TOKENIZER, "<think>\n", "</think>")

    async with Endpoint(server.url, NAME, TOKENIZER, api_key=server.api_key) as endpoint:
        endpoint.profile = Profile(dialect=name)
        tags = ("<think>\n", "</think>")
        profile = await Doctor(endpoint, TOKENIZER, dialect, tags).examine()
    found = {one.probe: one.came for one in profile.findings if one.verdict != "ok"}
    assert profile.broken == (), found
    assert "writer" in profile.seats
    assert profile.max_stops == 4


async def test_more_than_fits_is_refused_or_told_to_be_cut_where_the_context_is_full(
    server: RunningServer, bank: Bank
) -> None:
    question, _ = bank.recordings[0]
    prompt, endless = laid(question, Trajectory()), {"ignore_eos": True}
    request = Request(NAME, prompt, GREEDY, 10 * CONTEXT)
    key = server.api_key
    async with Endpoint(server.url, NAME, TOKENIZER, api_key=key, extra=endless) as endpoint:
        try:
            (drawn,) = await endpoint.complete(request, range(1), seed=0)
        except ContextFull:
            return
    assert drawn.finish == "context"
    assert drawn.prompt_tokens + drawn.completion_tokens == CONTEXT


async def test_both_dialects_lay_one_prompt_where_there_is_no_foreign_seam(
    bank: Bank, read_back: ReadBack
) -> None:
    for question, own in bank.recordings:
        trajectory = await opening(question, own, None, 0.4)
        text = TEXT.prompt(question.messages, trajectory, "thinking", "main").prompt
        assert isinstance(text, str)
        assert await read_back(text) == laid(question, trajectory)


async def test_steered_openings_are_continued_alike_but_for_near_ties(
    bench: Bench, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [laid(*opened) for opened in bank.openings[::RIVALS]]
    ours, theirs = await continued(bench.pocket, prompts), await continued(bench.vllm, prompts)
    weights = Weights.load(FOLDER)
    every = [parted(weights, *one) for one in zip(prompts, ours, theirs, strict=True)]
    leads = [lead for lead in every if lead is not None]
    with capsys.disabled():
        print(f"\n{len(prompts)} steered openings, {sum(map(len, ours))} greedy tokens:", end=" ")
        print(f"{len(leads)} part, where the best logit leads by {[f'{x:.1e}' for x in leads]}")
    assert len(prompts) == OPENINGS // RIVALS
    assert all(ours)
    assert [lead for lead in leads if lead > TIE] == []


async def test_choice_i_of_a_seed_is_choice_0_of_the_seed_i_further_on(
    bench: Bench, bank: Bank
) -> None:
    question, trajectory = bank.openings[2]
    request = Request(NAME, laid(question, trajectory), Sampling(temperature=1.5), 64)
    joint = await bench.vllm.complete(request, range(4), seed=90)
    singles = [(await bench.vllm.complete(request, range(1), seed=90 + i))[0] for i in range(4)]
    assert [one.ids for one in joint] == [one.ids for one in singles]
    assert len({one.ids for one in joint}) > 1


@pytest.mark.parametrize("until", [Sentence(), Words(count=5), Tokens(count=7)], ids=repr)
async def test_greedy_thinking_unit_by_unit_is_that_of_one_shot(
    bench: Bench, bank: Bank, until: Boundary
) -> None:
    model = seated(bench.vllm, bench.store, GREEDY)
    for question, _ in bank.recordings[::10]:
        case = Case(question.id, question, Solo())
        whole, units = [
            (await play_case(case, Team({"main": model}), until=each, budget=400)).trajectory
            for each in (Answer(), until)
        ]
        assert ids_of(units) == ids_of(whole)
        assert units.answer == whole.answer
        assert len(units.units) > len(whole.units)


def ids_of(trajectory: Trajectory) -> list[int]:
    return [index for unit in trajectory.units for index in unit.ids or ()]


async def test_a_draw_that_is_read_along_is_the_draw(bench: Bench, bank: Bank) -> None:
    question, trajectory = bank.openings[3]
    request = Request(NAME, laid(question, trajectory), Sampling(), 64, ("</think>",))
    pieces: list[str] = []
    (along,) = await bench.vllm.complete(request, range(1), seed=5, on_text=pieces.append)
    (plain,) = await bench.vllm.complete(request, range(1), seed=5)
    assert len(pieces) > 1
    assert "".join(pieces) == along.text == plain.text
    assert (along.ids, along.finish, along.stop_reason) == (
        plain.ids,
        plain.finish,
        plain.stop_reason,
    )


async def test_a_stop_string_stays_at_the_end_of_text_and_ids(bench: Bench, bank: Bank) -> None:
    for question, own in bank.recordings:  # not every greedy thought comes to an end
        prompt = laid(question, await opening(question, own, None, 0.8))
        request = Request(NAME, prompt, GREEDY, LONGEST, ("</think>",))
        (one,) = await bench.vllm.complete(request, range(1), seed=0)
        if one.finish == "stop":
            break
    assert (one.finish, one.stop_reason) == ("stop", "</think>")
    assert one.text.endswith("</think>")
    assert one.ids is not None
    assert one.ids[-1:] == IDS.close_ids


async def test_the_likeliest_tokens_give_the_entropy_that_the_pocket_server_gives(
    bench: Bench,
    bank: Bank,
) -> None:
    question, trajectory = bank.openings[1]
    request = Request(NAME, laid(question, trajectory), GREEDY, 16, logprobs=20)
    (theirs,) = await bench.vllm.complete(request, range(1), seed=0)
    (ours,) = await bench.pocket.complete(request, range(1), seed=0)
    assert theirs.logprobs is not None
    assert ours.logprobs is not None
    assert theirs.logprobs.entropies == pytest.approx(ours.logprobs.entropies, abs=1e-3)
    assert theirs.logprobs.drawn == pytest.approx(ours.logprobs.drawn, abs=1e-3)


async def test_refusals_are_told_apart(bench: Bench, server: RunningServer) -> None:
    for length in (CONTEXT, CONTEXT + 1):
        with pytest.raises(ContextFull):
            await bench.vllm.complete(Request(NAME, (5,) * length, GREEDY, 1), range(1), seed=0)
    async with Endpoint(server.url, NAME, api_key="wrong") as stranger:
        with pytest.raises(Rejected, match="401"):
            await stranger.models()


def test_the_same_command_line_runs_against_it_and_a_second_time_sends_nothing(
    server: RunningServer, tmp_path: Path
) -> None:
    words = [
        *("run", "twin=recoverability", "name=vllm", "budget=400"),
        *("questions.count=2", "scenario.originals=2", "scenario.samples=2"),
        *("model@team.main=vllm", *SEATED),
        *(f"team.main.base_url={server.url}", f"team.main.api_key_env={KEY}"),
    ]
    for sampled in ("[1-9][0-9]*", "0"):
        done = subprocess.run(
            [sys.executable, "-m", "collab", *words],
            cwd=tmp_path,
            env=os.environ | {KEY: server.api_key},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Recoverability · main plain" in done.stdout
        assert re.search(rf"^done: [1-9][0-9]* episodes, {sampled} generations", done.stdout, re.M)
