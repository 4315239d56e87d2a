import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from collab.core.boundary import Sentence
from collab.core.sampling import OpenTurn, Request, Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, TextDialect
from collab.endpoints.limits import Limits
from collab.endpoints.profile import Profile
from collab.endpoints.replicas import BLOCK, LETTERS, Replicas, prefixes
from collab.endpoints.scripted import TEMPLATE, ScriptedServer, recite
from collab.episode.engine import Case, play_case
from collab.episode.team import Team
from collab.errors import ConfigError, Unreachable
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.store.store import Store
from collab.templates.template import Template

SAID = "We add. We double. We look again. We are sure of it.</think>It is 12."


@dataclass(frozen=True)
class Park:
    """Two servers of one model, as one endpoint."""

    servers: Sequence[ScriptedServer]
    ends: Sequence[Endpoint]
    replicas: Replicas

    @property
    def heard(self) -> list[list[str]]:
        """The prompts that each server was sent."""
        return [[sent.body["prompt"] for sent in server.generating] for server in self.servers]


@pytest.fixture
async def park() -> AsyncIterator[Park]:
    async with AsyncExitStack() as stack:
        made = [ScriptedServer(recite(SAID), latency=0.01) for _ in range(2)]
        servers = [await stack.enter_async_context(server) for server in made]
        limits = Limits(concurrency=4, retries=0)
        ends = [
            await stack.enter_async_context(Endpoint(one.url, "scripted", limits=limits))
            for one in servers
        ]
        yield Park(servers, ends, Replicas(ends))


def asking(prompt: str) -> Request:
    return Request("m", prompt, Sampling(), 5)


async def test_a_trajectory_stays_with_the_server_that_knows_it_and_both_have_work(
    park: Park, store: Store
) -> None:
    dialect = TextDialect(Frame(Template(TEMPLATE)))
    model = Model("m", park.replicas, dialect, None, store, Sampling())

    async def play(number: int) -> None:
        asked = Question(f"{number}", (Message("user", f"{number}: " + "How much is it? " * 9),))
        case = Case(f"{number}", asked, Solo())
        await play_case(case, Team({"main": model}), until=Sentence(), budget=99)

    await asyncio.gather(*map(play, range(6)))
    homes = [{prompt.partition(":")[0] for prompt in prompts} for prompts in park.heard]
    assert homes[0] & homes[1] == set()
    assert [len(home) for home in homes] == [3, 3]
    assert sum(map(len, park.heard)) > 4 * 6


async def test_a_full_server_hands_on_what_it_knows_to_one_that_is_free(park: Park) -> None:
    prompt = "a long beginning " * 9
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            request = asking(prompt + "and so on " * number)
            group.create_task(park.replicas.complete(request, range(1), seed=number))
    assert sorted(map(len, park.heard)) == [2, 4]


async def test_a_server_that_is_lost_is_left_out_and_the_last_one_is_an_error(park: Park) -> None:
    prompts = [f"{number} " * 40 for number in range(4)]
    for prompt in prompts:
        await park.replicas.complete(asking(prompt), range(1), seed=0)
    gone = park.servers[0]
    await gone.__aexit__()
    for prompt in prompts:
        await park.replicas.complete(asking(prompt + "and on"), range(1), seed=0)
    assert len(park.servers[1].generating) >= 4
    await park.servers[1].__aexit__()
    with pytest.raises(Unreachable):
        await park.replicas.complete(asking("a"), range(1), seed=0)
    assert park.replicas.profile == Profile()


async def test_servers_that_differ_are_no_replicas(park: Park) -> None:
    park.ends[1].profile = Profile(max_model_len=64)
    with pytest.raises(
        ConfigError, match="max_model_len is 64, not None; start both servers with the same"
    ):
        Replicas(park.ends)


@pytest.mark.parametrize("kind", ["ids", "text", "turn"])
def test_equal_beginnings_have_equal_marks(kind: str) -> None:
    def made(length: int, end: str = "") -> int:
        text = "x" * length + end
        match kind:
            case "ids":
                prompt: tuple[int, ...] | str | OpenTurn = tuple(map(ord, text))
            case "text":
                prompt = text
            case _:
                prompt = OpenTurn("none", (Message("user", "Q"),), text)
        found.append(prefixes(prompt))
        return len(found[-1])

    found: list[list[int]] = []
    size = BLOCK if kind == "ids" else LETTERS
    assert made(8 * size) >= 8
    assert made(8 * size, "y" * size) == len(found[0]) + 1
    assert made(4 * size, "y" * 4 * size) == len(found[0])
    assert found[1][: len(found[0])] == found[0]
    assert found[2][3] == found[0][3]
    assert set(found[2][5:]) & set(found[0]) == set()
