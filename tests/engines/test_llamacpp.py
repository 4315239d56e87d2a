"""A real llama.cpp serves a shipped checkpoint from a GGUF file: it goes on as the pocket does."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest

from collab.app.compose import composed
from collab.app.connect import ModelKit
from collab.app.model_identity import checkpoint, identity, serves
from collab.config.config import ModelConfig
from collab.core.boundary import Answer, Boundary, Sentence, Tokens, Words
from collab.core.sampling import Request, Sampling
from collab.core.trajectory import Message, Trajectory
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect, IdsDialect
from collab.endpoints.doctor import Doctor
from collab.endpoints.launch import Launcher
from collab.endpoints.native import LlamaCompletion
from collab.endpoints.owner import RunningServer
from collab.endpoints.profile import Profile
from collab.endpoints.registry import choose
from collab.endpoints.spec import LlamacppSpec
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.errors import ContextFull, LaunchError
from collab.pocket.model import PocketNetwork as Weights
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.store.store import Store
from tests.engines.installed import interpreter
from tests.engines.openings import (
    CONTEXT,
    FOLDER,
    FRAME,
    GREEDY,
    NAME,
    RIVALS,
    TOKENIZER,
    Bank,
    continued,
    laid,
    next_logits,
    parted,
)

if TYPE_CHECKING:
    from tests.conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CONVERT = Path(__file__).with_name("gguf_of.py")
SLOTS = 8
LIKELIEST = 5
PROBES = (
    "12345 + 6 = 12,351; 3.14e-10",
    r"\frac{1}{2} x^{2} \le \sqrt{3} \implies \boxed{7}",
    "def f(a):\n\treturn  {'k': [a] * 2}  # so\r\n",
    "😀 👩‍👩‍👧 naïve cafe\u0301 – “so”",
    "你好,世界。それは7ですか?",
    "  \n\n \t a   b\n",
    "I'm sure we'LL see, don't you?",
    "<|end|> as text, <think> too </think> and <|user|>",
)
"""Texts at which tokenizers differ."""


@dataclass(frozen=True)
class Bench:
    """One checkpoint behind both servers."""

    pocket: Endpoint
    llama: Endpoint
    store: Store


@pytest.fixture(scope="module")
def python() -> str:
    return interpreter("llamacpp")


@pytest.fixture(scope="module")
def files(python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoint as GGUF files, by their precision."""
    home = tmp_path_factory.mktemp("gguf")
    found = {precision: home / f"plain-{precision}.gguf" for precision in ("F32", "Q8_0")}
    for precision, file in found.items():
        command = [python, str(CONVERT), str(FOLDER), str(file), precision]
        subprocess.run(command, check=True, capture_output=True)
    return found


def config(python: str, file: Path, *more: str) -> ModelConfig:
    """What `model@team.main=llamacpp_launch` composes to for a file."""
    words = ["model@team.main=llamacpp_launch", *seating(python, file), *more]
    model = composed(words).config.team["main"]
    assert isinstance(model, ModelConfig)
    return model


def seating(python: str, file: Path) -> list[str]:
    return [
        f"team.main.id={NAME}",
        f"team.main.checkpoint={file}",
        f"team.main.context={CONTEXT}",
        f"team.main.launch.python={python}",
        f"team.main.launch.slots={SLOTS}",
        "team.main.launch.threads=1",
    ]


@pytest.fixture(scope="module")
def servers(
    python: str, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RunningServer]]:
    """A server for each file."""
    launcher = Launcher(tmp_path_factory.mktemp("servers"))
    found = {}
    with asyncio.Runner() as runner:
        try:
            for precision, file in files.items():
                model = config(python, file)
                assert isinstance(model.launch, LlamacppSpec)
                found[precision] = runner.run(launcher.start(model.launch, serves(model)))
            yield found
        finally:
            runner.run(launcher.close())


@pytest.fixture(scope="module")
def bank(
    servers: dict[str, RunningServer], pocket: Served, tmp_path_factory: pytest.TempPathFactory
) -> Bank:
    return asyncio.run(Bank.draw(pocket.url, tmp_path_factory.mktemp("bank") / "store.sqlite"))


def llama(server: RunningServer, tokenizer: Tokenizer = TOKENIZER) -> Endpoint:
    key, form = server.api_key, LlamaCompletion()
    return Endpoint(server.url, NAME, tokenizer, form=form, api_key=key)


@pytest.fixture
async def bench(
    servers: dict[str, RunningServer], pocket: Served, store: Store
) -> AsyncIterator[Bench]:
    async with (
        Endpoint(pocket.url, NAME, TOKENIZER) as ours,
        llama(servers["F32"]) as theirs,
    ):
        await check(theirs, DIALECT, TOKENIZER)
        yield Bench(ours, theirs, store)


@pytest.fixture
async def ask(servers: dict[str, RunningServer]) -> AsyncIterator[httpx2.AsyncClient]:
    """Ask llama.cpp itself, past all code of ours."""
    server = servers["F32"]
    headers = {"authorization": f"Bearer {server.api_key}"}
    async with httpx2.AsyncClient(
        base_url=server.url, trust_env=False, headers=headers, timeout=60
    ) as client:
        yield client


DIALECT = IdsDialect(FRAME, TOKENIZER, LlamaCompletion(), "llamacpp")


async def test_the_check_at_the_start_reads_the_context_of_a_slot(bench: Bench) -> None:
    profile = await check(bench.llama, DIALECT, TOKENIZER)
    assert (profile.dialect, profile.returns_ids, profile.checked) == ("llamacpp", True, "real")
    assert profile.max_model_len == CONTEXT


async def test_the_server_has_the_slots_that_were_set(ask: httpx2.AsyncClient) -> None:
    assert (await ask.get("/props")).json()["total_slots"] == SLOTS
    assert {slot["n_ctx"] for slot in (await ask.get("/slots")).json()} == {CONTEXT}


async def test_a_stranger_without_the_key_is_refused(ask: httpx2.AsyncClient) -> None:
    async with httpx2.AsyncClient(base_url=ask.base_url, trust_env=False) as stranger:
        assert (await stranger.get("/props")).status_code == 401


async def test_the_tokenizer_of_the_file_is_that_of_the_server(
    ask: httpx2.AsyncClient, files: dict[str, Path]
) -> None:
    ours = Tokenizer.load(files["F32"])
    for text in PROBES:
        body: dict[str, Any] = {"content": text, "add_special": False, "parse_special": True}
        theirs = (await ask.post("/tokenize", json=body)).json()["tokens"]
        assert (text, list(ours.encode(text))) == (text, theirs)
        back = (await ask.post("/detokenize", json={"tokens": theirs})).json()["content"]
        assert ours.decode(theirs) == back == text


async def test_the_template_of_the_file_is_that_of_the_server(
    ask: httpx2.AsyncClient, python: str, files: dict[str, Path]
) -> None:
    model = config(python, files["F32"])
    frame = ModelKit.load(model, checkpoint(model)).frame
    assert frame is not None
    asked = [{"role": "user", "content": "How many?"}]
    theirs = (await ask.post("/apply-template", json={"messages": asked})).json()["prompt"]
    assert frame.template.render([Message("user", "How many?")]) == theirs


def test_the_hash_of_the_file_names_the_model(python: str, files: dict[str, Path]) -> None:
    names = {identity(config(python, file)) for file in files.values()}
    assert len(names) == len(files)
    assert all(re.fullmatch(rf"{NAME}@[0-9a-f]{{12}}", name) for name in names)


@pytest.mark.parametrize(("precision", "most"), [("F32", 0.1), ("Q8_0", 1.0)])
async def test_steered_openings_are_continued_alike_but_within_the_error_of_the_precision(
    bench: Bench,
    bank: Bank,
    servers: dict[str, RunningServer],
    precision: str,
    most: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Even a file in single precision errs: llama.cpp keeps keys and values in half precision."""
    prompts = [laid(*opened) for opened in bank.openings[::RIVALS]]
    async with llama(servers[precision]) as theirs:
        error = max([await logit_error(theirs, prompt) for prompt in prompts])
        leads = await leads_where_parted(bench, theirs, prompts)
    with capsys.disabled():
        print(f"\n{precision}: differences of logits err by {error:.4f} at most;", end=" ")
        largest = max(leads, default=0)
        print(f"{len(leads)} of {len(prompts)} openings part, at leads up to {largest:.4f}")
    assert 0 < error < most
    assert [lead for lead in leads if lead > 2 * error] == []  # it was not measured everywhere


async def leads_where_parted(
    bench: Bench, theirs: Endpoint, prompts: list[tuple[int, ...]]
) -> list[float]:
    ours, others = await continued(bench.pocket, prompts), await continued(theirs, prompts)
    assert all(ours)
    weights = Weights.load(FOLDER)
    every = [parted(weights, *one) for one in zip(prompts, ours, others, strict=True)]
    return [lead for lead in every if lead is not None]


async def logit_error(theirs: Endpoint, prompt: tuple[int, ...]) -> float:
    """Return by how much the differences between the likeliest tokens are off, at most."""
    request = Request(NAME, prompt, GREEDY, 1, logprobs=LIKELIEST)
    (drawn,) = await theirs.complete(request, range(1), seed=0)
    assert drawn.logprobs is not None
    (top,) = drawn.logprobs.tops
    logits = next_logits(Weights.load(FOLDER), prompt)
    pairs = [(logits[int(token)], chance) for token, chance in top]
    off = [(ours - pairs[0][0]) - (chance - pairs[0][1]) for ours, chance in pairs]
    return float(np.max(np.abs(off)))


async def test_a_seed_decides_a_draw_and_the_next_seed_another(bench: Bench, bank: Bank) -> None:
    question, trajectory = bank.openings[2]
    request = Request(NAME, laid(question, trajectory), Sampling(temperature=1.5), 64)
    once, again = [await draws(bench.llama, request, 4) for _ in range(2)]
    assert once == again
    assert len(set(once)) > 1


async def test_the_temperature_acts_before_the_tail_is_cut(bench: Bench, bank: Bank) -> None:
    hot, share = 2.0, 0.8
    weights = Weights.load(FOLDER)
    prompts = [laid(*opened) for opened in bank.openings[::RIVALS]]
    late, prompt = max(
        (len(nucleus(next_logits(weights, one) / hot, share)), one) for one in prompts
    )
    request = Request(NAME, prompt, Sampling(temperature=hot, top_p=share), 1)
    drawn = {index for ids in await draws(bench.llama, request, 100) for index in ids}
    logits = next_logits(weights, prompt)
    assert late > len(nucleus(logits, share))
    assert drawn <= nucleus(logits / hot, share)
    assert not drawn <= nucleus(logits, share)


async def draws(endpoint: Endpoint, request: Request, count: int) -> list[tuple[int, ...]]:
    """Draw one at a time, each with a seed of its own."""
    seeds = range(count)
    made = [(await endpoint.complete(request, range(1), seed=seed))[0] for seed in seeds]
    return [one.ids or () for one in made]


def nucleus(logits: np.ndarray, share: float) -> set[int]:
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    order = np.argsort(-chances)
    count = int(np.searchsorted(np.cumsum(chances[order]), share)) + 1
    return {int(index) for index in order[:count]}


@pytest.mark.parametrize("until", [Sentence(), Words(count=5), Tokens(count=7)], ids=repr)
async def test_greedy_thinking_unit_by_unit_is_that_of_one_shot(
    bench: Bench, bank: Bank, until: Boundary
) -> None:
    name = f"{NAME} at {bench.llama.url}"
    model = Model(name, bench.llama, DIALECT, TOKENIZER, bench.store, GREEDY, context=CONTEXT)
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


async def test_a_prompt_that_was_read_before_comes_from_the_cache(bench: Bench, bank: Bank) -> None:
    prompt = laid(*bank.openings[7])
    request = Request(NAME, prompt, GREEDY, 4)
    await bench.llama.complete(request, range(1), seed=0)
    (again,) = await bench.llama.complete(request, range(1), seed=0)
    assert again.cached_tokens is not None
    assert len(prompt) > again.cached_tokens > len(prompt) // 2


async def test_the_doctor_finds_it_sound(server_doctor: Profile) -> None:
    found = {one.probe: one.came for one in server_doctor.findings if one.verdict != "ok"}
    assert server_doctor.broken == (), found
    assert "writer" in server_doctor.seats


@pytest.fixture
async def server_doctor(servers: dict[str, RunningServer], files: dict[str, Path]) -> Profile:
    def dialect(profile: Profile) -> Dialect:
        return choose(profile, FRAME, tokenizer, "<think>\n", "</think>")

    tokenizer = Tokenizer.load(files["F32"])
    async with llama(servers["F32"], tokenizer) as endpoint:
        endpoint.profile = Profile(dialect="llamacpp")
        return await Doctor(endpoint, tokenizer, dialect, ("<think>\n", "</think>")).examine()


async def test_more_than_fits_is_refused_as_such(bench: Bench) -> None:
    for length in (CONTEXT, CONTEXT + 1):
        with pytest.raises(ContextFull):
            await bench.llama.complete(Request(NAME, (5,) * length, GREEDY, 1), range(1), seed=0)


async def test_a_start_that_fails_says_what_helps(
    python: str, files: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(files["F32"].read_bytes()[:-5000])
    model = config(python, file)
    assert model.launch is not None
    async with Launcher(tmp_path / "logs") as launcher:
        with pytest.raises(LaunchError, match="the file is no whole GGUF file"):
            await launcher.start(model.launch, serves(model))


def test_the_same_command_line_runs_against_it_and_a_second_time_sends_nothing(
    python: str, files: dict[str, Path], tmp_path: Path
) -> None:
    words = [
        *("run", "twin=recoverability", "name=llama", "budget=400"),
        *("questions.count=2", "scenario.originals=2", "scenario.samples=2"),
        *("model@team.main=llamacpp_launch", *seating(python, files["F32"])),
    ]
    for sampled in ("[1-9][0-9]*", "0"):
        done = subprocess.run(
            [sys.executable, "-m", "collab", *words],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Recoverability · main plain" in done.stdout
        assert re.search(rf"^done: [1-9][0-9]* episodes, {sampled} generations", done.stdout, re.M)


def test_the_jobs_of_a_sweep_share_one_server(
    python: str, files: dict[str, Path], tmp_path: Path
) -> None:
    words = [
        *("run", "-m", "scenario=solo", "policy=solo", "team=solo", "name=llama", "budget=300"),
        *("questions.count=2", "scenario.samples=1", "replicate=0,1"),
        *("model@team.main=llamacpp_launch", *seating(python, files["F32"])),
    ]
    command = [sys.executable, "-m", "collab", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(list(tmp_path.glob("runs/llama/*/scores.jsonl"))) == 2
    assert len(list(tmp_path.glob("runs/llama/*/servers/*.log"))) == 1
