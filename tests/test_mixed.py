"""A local reasoner and one behind a remote-style API on one trajectory."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from collab.core.boundary import Sentence
from collab.core.policy import Policy
from collab.core.sampling import Sampling
from collab.core.trajectory import Message, Question, Trajectory, Unit
from collab.endpoints.client import Endpoint
from collab.endpoints.profile import DialectName, Profile
from collab.endpoints.registry import choose
from collab.endpoints.scripted import Api, Script, ScriptedServer, recite
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.policies.alternate import Alternate
from collab.policies.answer_by import AnswerBy
from collab.reasoners.model import Model
from collab.store.store import Store

if TYPE_CHECKING:
    from tests.conftest import Seat, Served

ASKED = Question("q", (Message("user", "Nora has 5 toys. She gives 2. How many?"),))


class Remote(Protocol):
    def __call__(
        self, script: Script, api: Api, dialect: DialectName, **known: object
    ) -> Awaitable[tuple[Model, ScriptedServer]]: ...


@pytest.fixture
async def remote(store: Store) -> AsyncIterator[Remote]:
    """Return how to seat a model of which nothing is known but its API."""
    async with AsyncExitStack() as stack:

        async def sit(
            script: Script, api: Api, dialect: DialectName, **known: object
        ) -> tuple[Model, ScriptedServer]:
            server = await stack.enter_async_context(ScriptedServer(script, api=api))
            profile = Profile.model_validate({"dialect": dialect, "max_stops": 0, **known})
            laid = choose(profile, None, None, "<think>\n", "</think>")
            url = server.url + ("/beta" if api == "deepseek" else "")
            end = Endpoint(url, "scripted", form=laid.form, profile=profile)
            await stack.enter_async_context(end)
            return Model("remote", end, laid, None, store, Sampling(), context=4096), server

        yield sit


async def played(policy: Policy, **seats: Model) -> Episode:
    return await play_case(Case("c", ASKED, policy), Team(seats), until=Sentence(), budget=120)


def texts(units: tuple[Unit, ...], author: str) -> list[str]:
    return [unit.text for unit in units if unit.author == author]


async def test_a_pocket_model_and_an_api_in_deepseeks_form_write_in_turn(
    pocket: "Served", seat: "Seat", remote: Remote
) -> None:
    local = await seat(pocket.url, "plain", tokenizer=pocket.tokenizer, template=pocket.template)
    said = "First. Then more. And so on.</think>\n\nIt is \\boxed{3}."
    partner, server = await remote(lambda _: said, "deepseek", "deepseek_prefix")
    pocket.heard.clear()
    policy = Alternate(seats=("partner", "main"), units=1, until=Sentence())
    episode = await played(policy, main=local, partner=partner)
    units = episode.trajectory.units
    assert [unit.author for unit in units[:4]] == ["partner", "main", "partner", "main"]
    assert texts(units, "partner")[:2] == ["First.", "First."]
    head = local.dialect.prompt(ASKED.messages, Trajectory(), "thinking", "main").prompt
    assert isinstance(head, tuple)
    assert pocket.heard[0] == head + pocket.tokenizer.encode("First.")
    turn = server.generating[1].body["messages"][-1]
    assert turn["prefix"] is True
    assert turn["reasoning_content"] == "".join(unit.text for unit in units[:2])


async def test_an_api_that_keeps_its_thinking_answers_from_anothers(
    pocket: "Served", seat: "Seat", remote: Remote
) -> None:
    local = await seat(pocket.url, "plain", tokenizer=pocket.tokenizer, template=pocket.template)
    partner, server = await remote("Hm.</think>It is \\boxed{3}.", "openai", "none")
    episode = await played(AnswerBy(units=2), main=local, partner=partner)
    assert episode.finish == "answered"
    assert episode.trajectory.answer == "It is \\boxed{3}."
    (asked,) = server.generating
    shown = asked.body["messages"][-1]
    assert shown["role"] == "user"
    assert episode.trajectory.thinking in shown["content"]
    assert partner.can == {"answer", "advise", "logprobs"}


@pytest.mark.parametrize(
    ("returned", "kind", "text"),
    [("raw", "raw", "Count: 3."), ("summary", "summary", "I looked at the question")],
)
async def test_solo_draws_say_whether_they_are_thinking_or_a_summary_of_it(
    remote: Remote, returned: str, kind: str, text: str
) -> None:
    model, server = await remote(
        recite("Count: 3.</think>It is 3."),
        "openai",
        "none",
        thinking_returned=returned,
    )
    server._traits |= {"summary"} if returned == "summary" else set()
    ((recording, _),) = await model.solo(ASKED, range(1), 100)
    assert recording.kind == kind
    assert recording.answer == "It is 3."
    assert recording.text.startswith(text if returned == "summary" else "")


async def test_where_no_stop_string_is_of_use_a_unit_is_cut_here_and_counted_by_its_share(
    remote: Remote,
) -> None:
    said = "One. " * 60 + "</think>3"
    model, server = await remote(recite(said), "deepseek", "deepseek_prefix")
    episode = await played(Alternate(seats=("main",), units=1, until=Sentence()), main=model)
    first = episode.trajectory.units[0]
    assert (first.text, first.tokens) == ("One.", 2)
    assert "stop" not in server.generating[0].body
    assert server.generating[0].body["max_tokens"] <= 128
