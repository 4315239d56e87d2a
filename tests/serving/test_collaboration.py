"""A collaboration served as one model, called with the openai client."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from collab import Sentence
from collab.core.trajectory import Question
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.errors import PolicyError
from collab.policies.alternate import Alternate
from collab.serving import serve
from collab.serving.collaboration import build_collaboration
from collab.testing import Speaker


async def play(question: Question, most: int | None) -> Episode:
    if question.messages[-1].content == "Lost?":
        raise PolicyError("I am lost")
    assert question.messages[-1].content == "3 + 4?"
    seats = {seat: Speaker(closes=0.3) for seat in ("main", "partner")}
    case = Case(question.id, question, Alternate())
    return await play_case(case, Team(seats), until=Sentence(), budget=min(most or 200, 200))


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    direct = openai.DefaultHttpxClient(trust_env=False)
    with (
        serve(build_collaboration("pair", play)) as url,
        openai.OpenAI(
            base_url=f"{url}/v1", api_key="-", max_retries=0, http_client=direct
        ) as client,
    ):
        yield client


ASKED: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "3 + 4?"}]


def test_a_chat_brings_the_thinking_the_answer_and_the_usage_by_author(
    client: openai.OpenAI,
) -> None:
    assert [model.id for model in client.models.list()] == ["pair"]
    reply = client.chat.completions.create(model="pair", messages=ASKED, seed=3, temperature=1)
    (choice,) = reply.choices
    assert (choice.message.content, choice.finish_reason) == ("The answer is 7.", "stop")
    said = reply.to_dict()
    thinking = choice.message.to_dict()["reasoning_content"]
    assert isinstance(thinking, str)
    usage = said["usage"]
    assert isinstance(usage, dict)
    assert sum(usage["by_author"].values()) == usage["completion_tokens"]


def test_the_same_seed_brings_the_same_episode_and_a_stream_tells_it_too(
    client: openai.OpenAI,
) -> None:
    def ask(seed: int) -> object:
        reply = client.chat.completions.create(model="pair", messages=ASKED, seed=seed)
        return reply.choices[0].message.to_dict()["reasoning_content"]

    stream = client.chat.completions.create(model="pair", messages=ASKED, seed=3, stream=True)
    deltas = [chunk.choices[0].delta.to_dict() for chunk in stream]
    thinking = "".join(str(delta.get("reasoning_content", "")) for delta in deltas)
    assert thinking == ask(3)
    assert "".join(str(delta.get("content", "")) for delta in deltas) == "The answer is 7."


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_episode_is_a_line_to_both_sides(
    client: openai.OpenAI, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[openai.types.chat.ChatCompletionMessageParam]
    lost = [{"role": "user", "content": "Lost?"}]
    with pytest.raises(openai.APIError, match="PolicyError: I am lost"):
        list(client.chat.completions.create(model="pair", messages=lost, stream=stream))
    assert caplog.messages == ["an episode failed: PolicyError: I am lost"]


def test_what_it_cannot_do_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="served here: 'pair'"):
        client.chat.completions.create(model="other", messages=ASKED)
    begun: openai.types.chat.ChatCompletionMessageParam = {"role": "assistant", "content": "So"}
    with pytest.raises(openai.BadRequestError, match="the last message must be the user's"):
        client.chat.completions.create(model="pair", messages=[*ASKED, begun])
    with pytest.raises(openai.BadRequestError):
        client.post(
            "/chat/completions",
            body={"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            cast_to=object,
        )


def test_max_tokens_bounds_the_episode_where_it_is_less_than_the_budget(
    client: openai.OpenAI,
) -> None:
    def ask(**limit: Any) -> tuple[int, str]:  # any: what the client takes
        reply = client.chat.completions.create(model="pair", messages=ASKED, seed=3, **limit)
        assert reply.usage is not None
        return reply.usage.completion_tokens, reply.choices[0].finish_reason

    whole, finish = ask(max_tokens=10**12)
    assert (finish, ask()) == ("stop", (whole, "stop"))
    for name in ("max_tokens", "max_completion_tokens"):
        few, finish = ask(**{name: 3})
        assert (few < whole, finish) == (True, "length")


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_ends_before_a_stop_string(client: openai.OpenAI, stream: bool) -> None:
    asked = client.chat.completions.create(
        model="pair", messages=ASKED, seed=3, stop=["nowhere", " is"], stream=stream
    )
    if isinstance(asked, openai.Stream):
        deltas = [chunk.choices[0].delta.content for chunk in asked]
        assert "".join(filter(None, deltas)) == "The answer"
    else:
        assert asked.choices[0].message.content == "The answer"
        assert asked.choices[0].finish_reason == "stop"


def test_a_streams_usage_comes_in_a_chunk_of_its_own_where_asked(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(
        model="pair",
        messages=ASKED,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(asked)
    assert not any(chunk.usage for chunk in chunks)
    assert (last.choices, bool(last.usage)) == ([], True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.9),
        ("n", 2),
        ("n", 10**9),
        ("logprobs", True),
        ("top_logprobs", 2),
        ("logit_bias", {"5": 1}),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("response_format", {"type": "json_object"}),
        ("reasoning_effort", "high"),
        ("frequency_penalty", 1),
        ("echo", True),
        ("stream_options", {"continuous_usage_stats": True}),
        ("temprature", 1),
        ("max_tokens", 0),
        ("max_tokens", "9"),
        ("seed", 10**30),
        ("stop", [""]),
        ("stop", ["x"] * 1_000_000),
        ("messages", []),
        ("messages", [{"role": "wizard", "content": "Hi"}]),
        ("messages", [{"role": "user", "content": "Hi", "tool_calls": []}]),
        ("messages", [{"role": "user", "content": "x" * 2_000_000}]),
        ("messages", [{"role": "user", "content": "\0"}]),
        ("messages", [{"role": "user", "content": "\ud800"}]),
        ("messages", "Hi"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(name: str, value: object) -> None:
    with serve(build_collaboration("pair", play)) as url:
        body = {"messages": ASKED, name: value}
        refused = httpx2.post(
            f"{url}/v1/chat/completions",
            content=json.dumps(body),
            headers={"content-type": "application/json"},
            trust_env=False,
        )
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, name)
    assert error["message"]


def test_neutral_values_of_what_cannot_be_honoured_are_taken(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="pair",
        messages=ASKED,
        n=1,
        temperature=1,
        top_p=1,
        tools=[],
        tool_choice="none",
        logprobs=False,
        response_format={"type": "text"},
        user="me",
    )
    assert reply.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_an_episode_stops_when_its_client_goes_away(stream: bool) -> None:
    began, stopped = threading.Event(), threading.Event()

    async def endless(question: Question, most: int | None) -> Episode:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()
        raise AssertionError

    with serve(build_collaboration("pair", endless)) as url:
        body = {"messages": ASKED, "stream": stream}
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=0.2, trust_env=False)
        assert began.is_set()
        assert stopped.wait(30)
