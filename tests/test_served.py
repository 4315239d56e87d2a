"""A collaboration behind one model's name, asked with the openai client."""

from collections.abc import Iterator

import openai
import pytest

from collab import Sentence
from collab.engine import Case, Episode, play_case
from collab.errors import PolicyError
from collab.policies.alternate import Alternate
from collab.team import Team
from collab.testing import Speaker
from collab.trajectory import Question
from collab.wire import serve
from collab.wire.collaboration import build_collaboration


async def play(question: Question, most: int | None) -> Episode:
    if question.messages[-1].content == "Lost?":
        raise PolicyError("I am lost")
    assert question.messages[-1].content == "3 + 4?"
    seats = {seat: Speaker(closes=0.3) for seat in ("main", "partner")}
    case = Case(question.id, question, Alternate())
    return await play_case(case, Team(seats), until=Sentence(), budget=most or 200)


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
    with pytest.raises(openai.BadRequestError, match="a reply that was begun is not continued"):
        client.chat.completions.create(model="pair", messages=[*ASKED, begun])
    with pytest.raises(openai.BadRequestError):
        client.post(
            "/chat/completions",
            body={"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            cast_to=object,
        )
