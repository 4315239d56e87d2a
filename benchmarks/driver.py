"""Measure the driver's CPU time per unit, compared with bare clients on the same requests.

    python benchmarks/driver.py

CPU time per unit for collab (which renders the prompt, sends it, and reads, checks, stores and
accounts the reply), for the bare `openai` client over httpx and over aiohttp, and for bare aiohttp.
Prompts have 300 and 16,000 tokens and replies 60; the server runs in a process of its own. The last
line is one JSON object of ratios: `driver_vs_openai` to the client's faster transport,
`driver_vs_aiohttp` to bare aiohttp, and `flat_10_to_2000`, the cost with 2,000 running episodes to
that with 10.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ClassVar

import aiohttp
import openai

from collab.core.boundary import Share, Tokens
from collab.core.decision import Decision, Stop, Write
from collab.core.policy import View
from collab.core.sampling import Sampling
from collab.core.settings import Settings
from collab.core.trajectory import Message, Question, Recording
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.limits import Limits
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.pocket.server import find
from collab.reasoners.model import Model
from collab.runs.run import each
from collab.store.store import Store
from collab.templates.template import Template

WRITTEN = 60
"""Tokens of a reply."""
UNITS = 16
"""Units per episode in the comparison."""
CONCURRENCY = 64
ROUNDS = 5
PROMPTS = {300: 1_024, 16_000: 256}
"""Tokens of a prompt, and the number of units in a round."""
CROWDS = (10, 2_000)
"""The numbers of running episodes for `flat_10_to_2000`."""
LATENCY = 0.05
"""Seconds before the server answers in the comparison."""
Json = dict[str, object]


class Server(asyncio.Protocol):
    """Answers every completion with the same tokens and the ids of its prompt, at a low cost."""

    reply: ClassVar[bytes]
    latency: ClassVar[float]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer once the request is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._received = b""
        asyncio.get_running_loop().call_later(self.latency, self._answer, body)

    def _answer(self, body: bytes) -> None:
        start = body.index(b'"prompt":') + len(b'"prompt":')
        prompt = body[start : body.index(b"]", start) + 1]
        count = prompt.count(b",") + 1
        reply = self.reply.replace(b"PROMPT", prompt).replace(b"COUNT", b"%d" % count)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(reply) + reply)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(latency: float) -> None:
    ids = words(WRITTEN)
    choice = {
        "index": 0,
        "text": tokenizer().decode(ids),
        "logprobs": None,
        "finish_reason": "length",
        "stop_reason": None,
        "token_ids": ids,
        "prompt_token_ids": "PROMPT",
    }
    usage = {"prompt_tokens": "COUNT", "completion_tokens": WRITTEN, "total_tokens": "COUNT"}
    body = {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": "bench"}
    whole = json.dumps({**body, "choices": [choice], "usage": usage})
    for name in ("PROMPT", "COUNT"):
        whole = whole.replace(f'"{name}"', name)
    Server.reply, Server.latency = whole.encode(), latency
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server(latency: float) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.load(find("plain"))


@cache
def words(count: int) -> tuple[int, ...]:
    """Return token ids that stay the same when decoded and encoded again."""
    text = " So we add 3 and 4." * count
    return tokenizer().encode(text)[:count]


class Units(Settings):
    """Play the opening, then write units."""

    count: int

    async def decide(self, view: View) -> Decision:
        """Play the opening, write `count` units, then stop."""
        if view.step == 0:
            return Write("main", until=Share(of=1.0))
        if view.step > self.count:
            return Stop("enough")
        return Write("main", until=Tokens(count=WRITTEN))


async def drive(url: str, prompt: int, episodes: int, units: int, crowd: int) -> float:
    """Return the CPU seconds per unit that collab takes, without those for new connections."""
    known, folder = tokenizer(), find("plain")
    with TemporaryDirectory() as where:
        async with (
            Store.open(Path(where) / "store.sqlite") as store,
            Endpoint(url, "bench", known, limits=Limits(concurrency=crowd)) as endpoint,
        ):
            model = Model(
                identity="bench@1",
                endpoint=endpoint,
                dialect=IdsDialect(Frame(Template.load(folder)), known),
                tokenizer=known,
                store=store,
                sampling=Sampling(),
            )
            team, question = Team({"main": model}), Question("q", (Message("user", "3 + 4?"),))
            cases = [opened(n, question, prompt, units) for n in range(episodes)]
            warm = [opened(-n, question, 300, 1) for n in range(1, min(crowd, episodes) + 1)]

            async def one(case: Case) -> None:
                episode = await play_case(case, team, until=Tokens(count=9), budget=10**6)
                assert isinstance(case.policy, Units)
                assert episode.sampled == case.policy.count

            await each(warm, one, crowd)
            start = time.process_time()
            await each(cases, one, crowd)
            return (time.process_time() - start) / (episodes * units)


def opened(number: int, question: Question, prompt: int, units: int) -> Case:
    """Make a case with its own prompts, of about `prompt` tokens."""
    ids = known_ids(number, prompt)
    known = tokenizer()
    recording = Recording(
        question=question.id,
        text=known.decode(ids),
        tokens=len(ids),
        ids=ids,
        tokenizer=known.fingerprint,
        ends=known.ends(ids),
    )
    return Case(str(number), question, Units(count=units), {"main": recording})


def known_ids(number: int, prompt: int) -> tuple[int, ...]:
    ids = words(prompt)
    return (*tokenizer().encode(str(number)), *ids)[:prompt]


def request_body(prompt: int) -> Json:
    """Return the body of the request that collab sends for such a unit."""
    return {
        **Sampling().model_dump(),
        "model": "bench",
        "prompt": list(words(prompt)),
        "max_tokens": WRITTEN,
        "n": 1,
        "seed": 1,
        "stop": [],
        "return_token_ids": True,
        "add_special_tokens": False,
        "include_stop_str_in_output": True,
    }


async def burst(count: int, send: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU seconds per request."""

    async def one(_: int) -> None:
        await send()

    await each(range(CONCURRENCY), one, CONCURRENCY)
    start = time.process_time()
    await each(range(count), one, CONCURRENCY)
    return (time.process_time() - start) / count


async def sdk(url: str, prompt: int, count: int, client: openai.AsyncOpenAI) -> float:
    """Measure the bare client; as in collab, `extra_body` avoids its check of every token."""
    body = request_body(prompt)

    async def send() -> None:
        reply = await client.completions.create(model="", prompt="", extra_body=body)
        assert reply.choices[0].finish_reason == "length"

    async with client:
        return await burst(count, send)


async def over_httpx(url: str, prompt: int, count: int) -> float:
    return await sdk(url, prompt, count, openai.AsyncOpenAI(base_url=url, api_key="none"))


async def over_aiohttp(url: str, prompt: int, count: int) -> float:
    http = openai.DefaultAioHttpClient()
    client = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http)
    return await sdk(url, prompt, count, client)


async def bare(url: str, prompt: int, count: int) -> float:
    body = request_body(prompt)
    async with aiohttp.ClientSession() as session:

        async def send() -> None:
            async with session.post(f"{url}/completions", json=body) as response:
                reply = await response.json()
                assert reply["choices"][0]["finish_reason"] == "length"

        return await burst(count, send)


async def collab(url: str, prompt: int, count: int) -> float:
    return await drive(url, prompt, count // UNITS, UNITS, CONCURRENCY)


WAYS = {
    "collab": collab,
    "openai, httpx": over_httpx,
    "openai, aiohttp": over_aiohttp,
    "aiohttp": bare,
}


def compare() -> dict[int, dict[str, float]]:
    """Return the median CPU seconds per unit of each client, by the tokens of a prompt."""
    found: dict[int, dict[str, float]] = {}
    with server(LATENCY) as url:
        for prompt, count in PROMPTS.items():
            rounds = [
                {name: measured(way(url, prompt, count)) for name, way in WAYS.items()}
                for _ in range(ROUNDS)
            ]
            found[prompt] = {name: median(one[name] for one in rounds) for name in WAYS}
            for name, seconds in found[prompt].items():
                print(f"{prompt:6} tokens  {name:16} {1e3 * seconds:6.2f} ms per unit")
    return found


def flatness() -> float:
    """Return the ratio of the cost with many running episodes to that with few."""
    cost = {}
    for crowd in CROWDS:
        with server(crowd / 2_000) as url:
            cost[crowd] = measured(drive(url, 300, max(CROWDS), 2, crowd))
        print(f"{crowd:6} episodes at once     {1e3 * cost[crowd]:6.2f} ms per unit")
    few, many = CROWDS
    return cost[many] / cost[few]


def measured(way: Awaitable[float]) -> float:
    gc.collect()

    async def run() -> float:
        return await way

    return asyncio.run(run())


def main() -> None:
    found = compare()
    fastest = {p: min(w["openai, httpx"], w["openai, aiohttp"]) for p, w in found.items()}
    ratios = {
        "driver_vs_openai": {p: round(w["collab"] / fastest[p], 2) for p, w in found.items()},
        "driver_vs_aiohttp": {p: round(w["collab"] / w["aiohttp"], 2) for p, w in found.items()},
        "flat_10_to_2000": round(flatness(), 2),
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(float(sys.argv[2])))
    else:
        main()
