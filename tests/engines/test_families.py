"""Prompts of every family of chat templates, against the ids that other programs make.

One is transformers in the engines' environment, the other a vLLM server, which says itself how it
reads a question and a text. The checkpoints are ours, with weights of noise (families.py).
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest

from collab import Decision, Insert, Stop, View, Write
from collab.app.compose import config_of
from collab.app.connect import ModelKit
from collab.app.model_identity import serves
from collab.config.config import ModelConfig
from collab.core.boundary import Tokens
from collab.core.sampling import Generation, OnCut, OnText, Request, Sampling
from collab.core.trajectory import Message, Question, Trajectory, Unit, Wrote
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import IdsDialect, TextDialect
from collab.endpoints.launch import Launcher
from collab.endpoints.profile import Profile
from collab.episode.engine import Case, Episode, play_case
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.reasoners.model import Model
from collab.store.store import Store
from collab.templates.template import PINNED_DAY
from tests.engines.families import CONTEXT, FAMILIES, make
from tests.engines.installed import interpreter
from tests.engines.test_vllm import ENV

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SERVED = [pytest.param(name, marks=[] if name == "r1" else pytest.mark.long) for name in FAMILIES]
"""One family in the engines' suite, all of them in the long checks."""
CONVERSATIONS = (
    (Message("user", "Q"),),
    (Message("system", "Be brief."), Message("user", "What is 12345 + 678?\n")),
    (Message("user", " é … 你好 🙂\n\n"), Message("assistant", "Yes."), Message("user", "Why?")),
    (
        Message("user", "One?"),
        Message("assistant", "<think>\nHm.\n</think>\n\nTwo."),
        Message("user", "Three <think> four?"),
    ),
)
THOUGHTS = (
    "So x = 3.\n\n",
    "4).",
    "\n\nNext",
    " Wait. Let me think",
    ".\n",
    "\nIt is é🙂",
    "\\boxed{12345}",
)
"""Whose seams other tokens lie over."""
ORACLE = """
import json, sys
from transformers import AutoTokenizer

asked, DAY = json.load(sys.stdin), sys.argv[1]
for folder, wanted in asked.items():
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted["heads"] = [
        tokenizer.apply_chat_template(
            each, add_generation_prompt=True, return_dict=False, today=DAY
        )
        for each in wanted["conversations"]
    ]
    texts = tokenizer(wanted["texts"], add_special_tokens=False)
    wanted["texts"] = texts.input_ids
json.dump(asked, sys.stdout)
"""
"""Run by the engines' interpreter."""
NOISE = 200
"""Texts of any tokens in a row, tags, broken characters and all."""
OPENINGS = 1000
"""Prompts a family: each lays an opening or a hand-off."""
HANDS = 5
"""Times that the pen comes back in an episode."""


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the engines' environment."""
    return interpreter("vllm")


def seated(family: str, folder: Path, *more: str) -> tuple[ModelConfig, ModelKit]:
    """Compose the conf file of a family's model, on our checkpoint."""
    words = ["team=solo", f"model@team.main={FAMILIES[family].conf}", *more]
    words += [f"team.main.checkpoint={folder}", f"team.main.id={family}"]
    model = config_of(words).team["main"]
    assert isinstance(model, ModelConfig)
    return model, ModelKit.load(model, folder)


def dialects(kit: ModelKit) -> tuple[IdsDialect, TextDialect]:
    assert kit.frame is not None
    assert kit.tokenizer is not None
    return IdsDialect(kit.frame, kit.tokenizer), TextDialect(kit.frame)


def test_prompts_are_those_of_transformers_in_every_family(python: str, tmp_path: Path) -> None:
    spoken = [[{"role": m.role, "content": m.content} for m in each] for each in CONVERSATIONS]
    kits = {name: seated(name, make(name, tmp_path))[1] for name in FAMILIES}
    asked = {
        str(tmp_path / name): {
            "conversations": spoken,
            "texts": [
                *(kit.config.think_open, kit.config.force_answer or ""),
                *(*THOUGHTS, *noise(kit)),
            ],
        }
        for name, kit in kits.items()
    }
    day = str(PINNED_DAY.date())
    done = subprocess.run(
        [python, "-c", ORACLE, day],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for folder, theirs in json.loads(done.stdout).items():
        kit = kits[Path(folder).name]
        (opened, forced, *thoughts), heads = theirs["texts"], theirs["heads"]
        assert kit.frame is not None
        assert kit.tokenizer is not None
        for text, ids in zip(noise(kit), thoughts[len(THOUGHTS) :], strict=True):
            assert kit.tokenizer.encode(text) == tuple(ids)
        for messages, head in zip(CONVERSATIONS, heads, strict=True):
            start = head if kit.frame.opens(messages) else [*head, *opened]
            for text, ids in zip(THOUGHTS, thoughts, strict=False):
                thought = Trajectory().add(Wrote(Unit("guide", text, "inserted")))
                ours = dialects(kit)[0].prompt(messages, thought, "thinking", "main").prompt
                assert ours == (*start, *ids)
            closed = dialects(kit)[0].prompt(messages, Trajectory(), "answer", "main").prompt
            assert kit.config.force_answer is None or closed == (*start, *forced)


def noise(kit: ModelKit) -> list[str]:
    assert kit.tokenizer is not None
    rng, size = random.Random(7), kit.tokenizer.raw.get_vocab_size()
    return [kit.tokenizer.decode(rng.choices(range(size), k=12)) for _ in range(NOISE)]


@dataclass(frozen=True)
class Own:
    """A vLLM server, asked how it reads; past all code of ours."""

    client: httpx2.AsyncClient
    model: str
    known: dict[str, tuple[int, ...]] = field(default_factory=dict)

    async def head(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids of a question up to the assistant's turn."""
        spoken = [{"role": message.role, "content": message.content} for message in messages]
        told = {"today": str(PINNED_DAY.date())}
        return await self._asked({"messages": spoken, "chat_template_kwargs": told})

    async def text(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text as one piece."""
        return await self._asked({"prompt": text, "add_special_tokens": False})

    async def read(self, prompt: str) -> tuple[int, ...]:
        """Return the ids that it reads a prompt's text as."""
        flags = {"max_tokens": 1, "add_special_tokens": False, "return_token_ids": True}
        body = {"model": self.model, "prompt": prompt, **flags}
        reply = await self.client.post("/v1/completions", json=body)
        return tuple(reply.raise_for_status().json()["choices"][0]["prompt_token_ids"])

    async def _asked(self, body: dict[str, Any]) -> tuple[int, ...]:  # Any: JSON
        key = json.dumps(body)
        if key not in self.known:
            reply = await self.client.post("/tokenize", json={"model": self.model, **body})
            self.known[key] = tuple(reply.raise_for_status().json()["tokens"])
        return self.known[key]


@dataclass
class Heard:
    """An endpoint that keeps what was sent; the client compares it with what the server read."""

    endpoint: Endpoint
    profile: Profile
    prompts: list[tuple[int, ...]] = field(default_factory=list)
    oddities: Mapping[str, int] = field(default_factory=dict)

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        assert isinstance(request.prompt, tuple)
        self.prompts.append(request.prompt)
        return await self.endpoint.complete(
            request, draws, seed=seed, on_text=on_text, on_cut=on_cut
        )

    async def ends(self, text: str) -> tuple[int, ...] | None:
        return await self.endpoint.ends(text)


class TakingTurns:
    """Foreign text, then a few tokens of the model's own, over and over."""

    needs: ClassVar[frozenset[str]] = frozenset()

    async def decide(self, view: View) -> Decision:
        mine = [unit for unit in view.units if unit.author == "main"]
        if len(mine) == HANDS or view.closed_by:
            return Stop("enough")
        if not view.units or view.units[-1].author == "main":
            return Insert("guide", said(view.rng))
        return Write("main", Tokens(count=view.rng.randint(1, 9)))


def said(rng: random.Random) -> str:
    """Put a thought together that begins anywhere, and ends anywhere but in a space."""
    parts = "".join(rng.choices(THOUGHTS, k=rng.randint(1, 4)))
    return parts[rng.randrange(len(parts)) :].rstrip(" \t") + rng.choice(THOUGHTS)


@dataclass(frozen=True)
class Bench:
    """A family's model behind vLLM, and what plays on it."""

    kit: ModelKit
    endpoint: Endpoint
    own: Own
    store: Store

    async def play(self, number: int) -> tuple[Episode, Question, list[tuple[int, ...]]]:
        """Play one episode; return it with every prompt that was read, in order."""
        heard = Heard(self.endpoint, self.endpoint.profile)
        ids, _ = dialects(self.kit)
        main = Model(
            identity=self.kit.name,
            endpoint=heard,
            dialect=ids,
            tokenizer=self.kit.tokenizer,
            store=self.store,
            sampling=Sampling(temperature=1.0),
            think_close=self.kit.config.think_close,
            context=CONTEXT,
        )
        messages = CONVERSATIONS[number % len(CONVERSATIONS)]
        question = Question(str(number), messages)
        team = Team({"main": main, "guide": Recorded()})
        case = Case(f"{self.kit.name} {number}", question, TakingTurns())
        episode = await play_case(case, team, until=Tokens(count=5), budget=CONTEXT)
        return episode, question, heard.prompts

    async def wrong(self, number: int) -> tuple[int, int, Trajectory]:
        """Return how many prompts of an episode there are, and how many are not as they should.

        They should be the question as the server itself reads it, each run of foreign text as the
        server itself reads it, and the very tokens that it wrote itself.
        """
        episode, question, prompts = await self.play(number)
        assert self.kit.frame is not None
        base = await self.own.head(question.messages)
        if not self.kit.frame.opens(question.messages):
            base += await self.own.text(self.kit.config.think_open)
        left, bad, foreign = iter(prompts), 0, ""
        for unit in (event.unit for event in episode.trajectory.log if isinstance(event, Wrote)):
            if unit.author == "guide":
                foreign += unit.text
                continue
            base, foreign = base + (await self.own.text(foreign) if foreign else ()), ""
            for _ in unit.generations:
                read = next(left)
                begun = read[len(base) :]
                if read != base + (unit.ids or ())[: len(begun)]:
                    print(f"read {read[-40:]}, not {base[-40:]} and {unit}")
                    bad += 1
            base += unit.ids or ()
        assert next(left, None) is None
        return len(prompts), bad, episode.trajectory


@pytest.mark.parametrize("family", SERVED)
async def test_a_vllm_server_reads_every_prompt_as_it_was_laid(
    family: str, python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(family, python, tmp_path) as here:
        ids, text = dialects(here.kit)
        assert here.kit.tokenizer is not None
        assert (await check(here.endpoint, ids, here.kit.tokenizer)).checked == "real"
        count = wrong = number = 0
        while count < OPENINGS:
            batch = range(number, number := number + 50)
            played = await asyncio.gather(*map(here.wrong, batch))
            count += sum(prompts for prompts, _, _ in played)
            wrong += sum(bad for _, bad, _ in played)
        for number, (_, _, trajectory) in zip(batch, played, strict=True):
            messages = CONVERSATIONS[number % len(CONVERSATIONS)]
            whole = text.prompt(messages, trajectory, "thinking", "main").prompt
            assert isinstance(whole, str)
            assert await here.own.read(whole) == here.kit.tokenizer.encode(whole)
    with capsys.disabled():
        print(f"\n{family}: {count} openings and hand-offs, {wrong} of them read otherwise")
    assert wrong == 0


@asynccontextmanager
async def bench(family: str, python: str, folder: Path) -> AsyncIterator[Bench]:
    words = [
        f"team.main.launch.python={python}",
        "team.main.launch.args='--max-num-seqs 64 --enforce-eager --block-size 32'",
        "team.main.launch.startup=3000",
        *(f"+team.main.launch.env.{name}={value}" for name, value in ENV.items()),
        *("team.main.dtype=float32", f"team.main.context={CONTEXT}"),
    ]
    model, kit = seated(family, make(family, folder), *words)
    assert model.launch is not None
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher(folder / "servers"))
        server = await launcher.start(model.launch, serves(model))
        endpoint = Endpoint(server.url, family, kit.tokenizer, api_key=server.api_key)
        headers = {"authorization": f"Bearer {server.api_key}"}
        fresh = httpx2.Limits(max_keepalive_connections=0)  # the server drops idle ones
        client = httpx2.AsyncClient(
            base_url=server.url, trust_env=False, headers=headers, timeout=600, limits=fresh
        )
        store = Store.open(folder / "store.sqlite")
        yield Bench(
            kit,
            await stack.enter_async_context(endpoint),
            Own(await stack.enter_async_context(client), family),
            await stack.enter_async_context(store),
        )
