import asyncio
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from collab.endpoints.scripted import (
    TEMPLATE,
    Failure,
    ScriptedServer,
    Trait,
    WordTokenizer,
    recite,
)
from collab.endpoints.scripted.mind import ScriptedModel
from collab.errors import ConfigError
from collab.serving import Card

THOUGHT = "We add. We double.</think>\n\n12"
CHAT = [
    {"role": "user", "content": "How much?"},
    {"role": "assistant", "content": "<think>\nWe add."},
]
GO_ON = {"continue_final_message": True, "add_generation_prompt": False}


async def post(server: ScriptedServer, path: str, **body: object) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=False) as client:
        return await client.post(path, json=body)


async def texts(server: ScriptedServer, **body: object) -> list[str]:
    reply = await post(server, "/v1/completions", **{"max_tokens": 50, **body})
    return [choice["text"] for choice in reply.json()["choices"]]


async def prompt(server: ScriptedServer, **body: object) -> str:
    reply = await post(server, "/tokenize", return_token_strs=True, **body)
    return "".join(reply.json()["token_strs"])


async def test_a_script_may_be_a_text_texts_a_mapping_or_a_function() -> None:
    async with ScriptedServer("always") as server:
        assert await texts(server, prompt="a") == ["always"]
    async with ScriptedServer(["one", "two"]) as server:
        assert await texts(server, prompt="a", seed=1, n=2) == ["two", "one"]
    async with ScriptedServer({"2+2": "four", "": "what?"}) as server:
        assert await texts(server, prompt=["is 2+2 4", "hm"]) == ["four", "what?"]
    async with ScriptedServer(lambda prompt: prompt.upper()) as server:
        assert await texts(server, prompt="echo") == ["ECHO"]


async def test_a_recited_text_goes_on_wherever_it_was_cut() -> None:
    async with ScriptedServer(recite(THOUGHT)) as server:
        for at in range(len(THOUGHT)):
            assert await texts(server, prompt="<think>\n" + THOUGHT[:at]) == [THOUGHT[at:]]


async def test_without_a_seed_several_answers_take_turns() -> None:
    async with ScriptedServer(["one", "two"]) as server:
        drawn = [await texts(server, prompt="a") for _ in range(3)]
    assert drawn == [["one"], ["two"], ["one"]]


async def test_requests_are_kept_in_order_of_arrival() -> None:
    async with ScriptedServer("x", key="k") as server:
        await post(server, "/v1/completions", prompt="a", stop=["."])
        await post(server, "/tokenize", prompt="b")
    assert [request.path for request in server.requests] == ["/v1/completions", "/tokenize"]
    assert server.generating[0].body["stop"] == ["."]
    assert server.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("failure", "status", "begins"),
    [
        ("rate_limit", 429, '{"error"'),
        ("server_error", 500, '{"error"'),
        ("loading", 503, '{"error"'),
        ("error_body", 200, '{"error"'),
        ("html", 200, "<html>"),
        ("not_json", 200, "{"),
    ],
)
async def test_a_failure_befalls_one_request_and_then_all_is_well(
    failure: Failure, status: int, begins: str
) -> None:
    async with ScriptedServer("x", failures=[failure], retry_after=0.5) as server:
        failed = await post(server, "/v1/completions", prompt="a")
        assert await texts(server, prompt="a") == ["x"]
    assert failed.status_code == status
    assert failed.text.startswith(begins)
    assert failed.headers.get("retry-after") == ("0.5" if status == 429 else None)


async def test_a_429_may_give_a_date() -> None:
    async with ScriptedServer("x", failures=["rate_limit_date"], retry_after=60) as server:
        failed = await post(server, "/v1/completions", prompt="a")
    later = parsedate_to_datetime(failed.headers["retry-after"])
    assert timedelta() < later - datetime.now(UTC) < timedelta(seconds=61)


async def test_a_reply_may_be_no_text_or_of_another_model() -> None:
    async with ScriptedServer("x", failures=["bad_utf8", "wrong_model"]) as server:
        failed = await post(server, "/v1/completions", prompt="a")
        other = await post(server, "/v1/completions", prompt="a")
    with pytest.raises(UnicodeDecodeError):
        failed.content.decode()
    assert other.json()["model"] == "another-model"
    assert other.json()["choices"][0]["text"] == "x"


async def test_failures_are_read_as_requests_come() -> None:
    forever: Iterator[Failure | None] = itertools.cycle([None, "loading"])
    async with ScriptedServer("x", failures=forever) as server:
        statuses = [(await post(server, "/v1/completions", prompt="a")).status_code for _ in "abcd"]
    assert statuses == [200, 503, 200, 503]


async def test_half_a_stream_comes_and_then_silence() -> None:
    async with (
        ScriptedServer("x", failures=["half_stream"]) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=False) as client,
    ):
        asked = {"prompt": "a", "stream": True}
        async with client.stream("POST", "/v1/completions", json=asked) as reply:
            first = await anext(reply.aiter_text())
        await server.until(lambda s: s.aborted == 1)
    assert json.loads(first.removeprefix("data: "))["choices"][0]["text"] == "So"


async def test_what_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown trait 'nonsense' \(there are: bos, "):
        ScriptedServer(traits=["nonsense"])  # type: ignore[list-item]  # the mistake
    with pytest.raises(ConfigError, match="unknown API 'mine'"):
        ScriptedServer(api="mine")  # type: ignore[arg-type]  # the mistake


async def test_a_backend_may_answer_in_place_of_a_script() -> None:
    inner = ScriptedModel("so", {"one": Card(64, WordTokenizer.size)}, TEMPLATE, WordTokenizer(), 0)
    async with ScriptedServer(inner, traits=["stop_trimmed"]) as server:
        assert await texts(server, prompt="a", model="one") == ["so"]


@pytest.mark.parametrize("failure", ["drop", "truncate"])
async def test_a_connection_can_break_before_and_within_the_reply(failure: Failure) -> None:
    async with ScriptedServer("x", failures=[failure]) as server:
        with pytest.raises(httpx2.RemoteProtocolError):
            await post(server, "/v1/completions", prompt="a")
        assert await texts(server, prompt="a") == ["x"]


async def test_a_hanging_request_ends_when_its_client_leaves() -> None:
    async with ScriptedServer("x", failures=["hang"]) as server:
        waiting = asyncio.create_task(post(server, "/v1/completions", prompt="a"))
        await server.until(lambda s: len(s.requests) == 1)
        waiting.cancel()
        await server.until(lambda s: s.aborted == 1)


@pytest.mark.parametrize(
    ("trait", "expected"),
    [
        ("n_ignored", [" double"]),
        ("stop_ignored", [" double. Done", " double. Done"]),
        ("stop_trimmed", [" double", " double"]),
        ("seed_ignored", [" double.", " double."]),
    ],
)
async def test_a_server_may_ignore_a_field(trait: Trait, expected: list[str]) -> None:
    async with ScriptedServer(" double. Done", traits=[trait]) as server:
        kept = {"include_stop_str_in_output": trait != "n_ignored"}
        assert await texts(server, prompt="We", n=2, stop=["."], seed=0, **kept) == expected


async def test_a_server_that_ignores_the_seed_draws_anew() -> None:
    async with ScriptedServer(["one", "two"], traits=["seed_ignored"]) as server:
        assert [await texts(server, prompt="a", seed=0) for _ in range(2)] == [["one"], ["two"]]


async def test_token_ids_may_be_missing_or_refused() -> None:
    async with ScriptedServer("x", traits=["no_token_ids", "ids_refused"]) as server:
        reply = await post(server, "/v1/completions", prompt="a", return_token_ids=True)
        refused = await post(server, "/v1/completions", prompt=[1, 2])
    assert "token_ids" not in reply.json()["choices"][0]
    assert refused.status_code == 422


async def test_usage_may_be_missing() -> None:
    async with ScriptedServer("x", traits=["no_usage"]) as server:
        reply = await post(server, "/v1/completions", prompt="a")
    assert "usage" not in reply.json()
    assert reply.json()["choices"][0]["text"] == "x"


@pytest.mark.parametrize(
    ("trait", "path"),
    [
        ("no_chat", "/v1/chat/completions"),
        ("no_completions", "/v1/completions"),
        ("no_tokenize", "/tokenize"),
    ],
)
async def test_a_route_may_be_missing(trait: Trait, path: str) -> None:
    async with ScriptedServer("x", traits=[trait]) as server:
        assert (await post(server, path, prompt="a", messages=CHAT)).status_code == 404


@pytest.mark.parametrize(
    ("trait", "ends"),
    [
        ("continue_ignored", "We add.</s>\n<|assistant|>\n<think>\n"),
        ("empty_think", "<think>\n\n</think>\n\n<think>\nWe add."),
    ],
)
async def test_a_partial_turn_may_be_rendered_wrong(trait: Trait, ends: str) -> None:
    async with ScriptedServer("x", traits=[trait]) as server:
        assert (await prompt(server, messages=CHAT, **GO_ON)).endswith(ends)


async def test_thinking_may_be_dropped_from_a_finished_turn() -> None:
    closed = [*CHAT[:1], {"role": "assistant", "content": "<think>\nWe.</think>12"}]
    async with ScriptedServer("x", traits=["thinking_dropped"]) as server:
        assert "<|assistant|>\n12</s>" in await prompt(server, messages=closed)


async def test_the_prefix_may_be_repeated_in_the_reply() -> None:
    async with ScriptedServer(recite(THOUGHT), traits=["prefix_echoed"]) as server:
        reply = await post(server, "/v1/chat/completions", messages=CHAT, **GO_ON)
    content = reply.json()["choices"][0]["message"]["content"]
    assert content == "<think>\nWe add. We double.</think>\n\n12"


@pytest.mark.parametrize(
    ("trait", "special", "count"),
    [("bos", False, 1), ("bos", True, 2), ("double_bos", False, 2)],
)
async def test_a_second_bos_comes_from_the_tokenizer(
    trait: Trait, special: bool, count: int
) -> None:
    async with ScriptedServer("x", traits=[trait]) as server:
        text = "<s><|user|>"
        read = await prompt(server, prompt=text, add_special_tokens=special)
    assert read.count("<s>") == count


async def test_words_come_back_from_their_ids_and_seams_have_other_tokens() -> None:
    words = WordTokenizer()
    text = "<think>\nSo 12 is\n\nit. Café 😀</think>"
    assert "".join(map(words.text, words.encode(text))) == text
    assert words.encode("think ") + words.encode("about") != words.encode("think about")
    assert WordTokenizer().encode("b a")[1] != words.encode("b a")[1]
