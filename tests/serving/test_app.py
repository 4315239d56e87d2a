import json
import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator

import httpx2
import openai
import pytest

from collab.endpoints.scripted import TEMPLATE, ScriptedServer, WordTokenizer, recite
from collab.endpoints.scripted.mind import ScriptedModel
from collab.serving import Card, ChatTemplate, Job, Piece, WireError, build_app, listen, serve

THOUGHT = "First we add. Then we double.\n\nSo it is 12.</think>\n\nThe answer is 12."
QUESTION = {"role": "user", "content": "How much?"}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer(recite(THOUGHT, "Let me see."), context=200) as server:
        yield server


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=False) as client:
        yield client


async def post(client: httpx2.AsyncClient, path: str, **body: object) -> httpx2.Response:
    return await client.post(path, json=body)


async def complete(client: httpx2.AsyncClient, **body: object) -> dict[str, object]:
    reply = await post(client, "/v1/completions", **body)
    assert reply.status_code == 200, reply.text
    choice: dict[str, object] = reply.json()["choices"][0]
    return choice


async def refusal(client: httpx2.AsyncClient, path: str, **body: object) -> tuple[int, str, str]:
    reply = await post(client, path, **body)
    error = reply.json()["error"]
    assert error["code"] == reply.status_code
    return reply.status_code, error["param"], error["message"]


async def test_the_openai_client_completes_and_streams(server: ScriptedServer) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{server.url}/v1",
        api_key="-",
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        whole = await client.completions.create(model="scripted", prompt="First", max_tokens=9)
        stream = await client.completions.create(
            model="scripted", prompt="First", max_tokens=9, stream=True
        )
        told = "".join([chunk.choices[0].text async for chunk in stream])
        models = [model.id async for model in client.models.list()]
    assert told == whole.choices[0].text
    assert whole.choices[0].finish_reason == "length"
    assert models == ["scripted"]


async def test_a_stop_string_is_cut_unless_it_is_asked_for(client: httpx2.AsyncClient) -> None:
    cut = await complete(client, prompt="First", stop=".", seed=0)
    kept = await complete(client, prompt="First", stop=["."], include_stop_str_in_output=True)
    assert (cut["text"], kept["text"]) == (" we add", " we add.")
    assert (cut["finish_reason"], cut["stop_reason"]) == ("stop", ".")


async def test_the_token_that_completes_a_stop_string_is_among_the_ids(
    client: httpx2.AsyncClient,
) -> None:
    asked = {"prompt": "First", "return_token_ids": True, "max_tokens": 3}
    whole = await complete(client, **asked)
    cut = await complete(client, **asked, stop="d.")
    assert cut["text"] == " we ad"
    assert cut["token_ids"] == whole["token_ids"]


async def test_a_stop_string_counts_only_after_min_tokens(client: httpx2.AsyncClient) -> None:
    late = await complete(client, prompt="First", stop=".", min_tokens=4, max_tokens=50)
    assert late["text"] == " we add. Then we double"


async def test_a_prompt_is_scored_by_id_as_vllm_does_it(client: httpx2.AsyncClient) -> None:
    choice = await complete(
        client, prompt="First we say", max_tokens=1, prompt_logprobs=1, return_token_ids=True
    )
    ids, scored = choice["prompt_token_ids"], choice["prompt_logprobs"]
    assert isinstance(ids, list)
    assert isinstance(scored, list)
    assert scored[0] is None
    places = [place[str(token)] for token, place in zip(ids[1:], scored[1:], strict=True)]
    assert [place["decoded_token"] for place in places] == [" we", " say"]
    assert [place["logprob"] for place in places] == [math.log(0.9), math.log(0.01)]


@pytest.mark.parametrize(("longest", "text"), [(0, "First we"), (2, "First we add.")])
async def test_an_echo_puts_the_prompt_and_its_chances_before_the_text(
    client: httpx2.AsyncClient, longest: int, text: str
) -> None:
    choice = await complete(client, prompt="First we", max_tokens=longest, echo=True, logprobs=1)
    assert choice["text"] == text
    logprobs = choice["logprobs"]
    assert isinstance(logprobs, dict)
    assert "".join(logprobs["tokens"]) == text
    assert logprobs["token_logprobs"] == [None, *[math.log(0.9)] * (1 + longest)]
    assert logprobs["top_logprobs"][:2] == [None, {" we": math.log(0.9)}]
    plain = await complete(client, prompt="First we", max_tokens=longest, echo=True)
    assert (plain["text"], plain["logprobs"]) == (text, None)


async def test_a_stop_id_ends_the_text_and_is_the_reason(client: httpx2.AsyncClient) -> None:
    whole = await complete(client, prompt="First", max_tokens=3, return_token_ids=True)
    ids = whole["token_ids"]
    assert isinstance(ids, list)
    ended = await complete(client, prompt="First", stop_token_ids=[ids[1]])
    assert (ended["text"], ended["stop_reason"]) == (" we", ids[1])


async def test_the_end_of_the_sequence_is_a_stop_without_a_reason(
    client: httpx2.AsyncClient,
) -> None:
    ended = await complete(client, prompt="Let me see", return_token_ids=True)
    ignoring = await complete(client, prompt="Let me see", ignore_eos=True, max_tokens=5)
    assert (ended["text"], ended["finish_reason"], ended["stop_reason"]) == (".", "stop", None)
    assert ignoring["finish_reason"] == "length"


async def test_a_prompt_may_be_text_or_ids_or_many_of_them(client: httpx2.AsyncClient) -> None:
    ids = (await post(client, "/tokenize", prompt="First")).json()["tokens"]
    for prompt in ("First", ids, ["First", "Then"], [ids, ids]):
        reply = (await post(client, "/v1/completions", prompt=prompt, n=2, max_tokens=2)).json()
        count = 4 if isinstance(prompt, list) and not isinstance(prompt[0], int) else 2
        assert [choice["index"] for choice in reply["choices"]] == list(range(count))
        assert reply["choices"][0]["text"] == " we add"


async def test_usage_counts_a_prompt_once_and_every_choice(client: httpx2.AsyncClient) -> None:
    reply = await post(client, "/v1/completions", prompt="First we", n=3, max_tokens=2)
    usage = reply.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (2, 6, 8)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_a_stream_adds_up_to_the_whole_reply_and_ends_in_its_usage(
    client: httpx2.AsyncClient,
) -> None:
    asked = {"prompt": "First", "n": 2, "stop": ["double"], "return_token_ids": True, "seed": 0}
    whole = (await post(client, "/v1/completions", **asked)).json()
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    lines = (await post(client, "/v1/completions", **asked)).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if "{" in line]
    for index, choice in enumerate(whole["choices"]):
        told = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        assert "".join(c["text"] for c in told) == choice["text"]
        assert [i for c in told for i in c["token_ids"]] == choice["token_ids"]
        assert told[0]["prompt_token_ids"] == choice["prompt_token_ids"]
        assert told[-1]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert "data: [DONE]" in lines


async def test_a_chat_goes_on_from_its_open_last_message(client: httpx2.AsyncClient) -> None:
    partial = {"role": "assistant", "content": "<think>\nFirst we"}
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    chat = {"messages": [QUESTION, partial], "return_token_ids": True}
    gone_on = (await post(client, "/v1/chat/completions", **chat, **flags)).json()
    asked = {"model": "scripted", "return_token_strs": True}
    read = (await post(client, "/tokenize", messages=chat["messages"], **flags, **asked)).json()
    assert gone_on["prompt_token_ids"] == read["tokens"]
    assert "".join(read["token_strs"]).endswith("<think>\nFirst we")
    assert gone_on["choices"][0]["message"]["content"].startswith(" add.")


async def test_a_chat_without_the_flag_opens_a_new_turn(client: httpx2.AsyncClient) -> None:
    partial = {"role": "assistant", "content": "<think>\nFirst we"}
    asked = {"messages": [QUESTION, partial], "return_token_strs": True}
    read = (await post(client, "/tokenize", **asked)).json()
    assert "".join(read["token_strs"]).endswith("First we</s>\n<|assistant|>\n<think>\n")


async def test_a_message_may_come_in_parts_of_text_and_of_text_alone(
    client: httpx2.AsyncClient,
) -> None:
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "much?"}]
    whole = (await post(client, "/tokenize", messages=[QUESTION])).json()
    split = (await post(client, "/tokenize", messages=[QUESTION | {"content": parts}])).json()
    picture = QUESTION | {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    assert split == whole
    assert (await refusal(client, "/tokenize", messages=[picture]))[:2] == (400, "messages")


async def test_tokens_go_back_to_the_text_they_came_from(client: httpx2.AsyncClient) -> None:
    read = (await post(client, "/tokenize", prompt=THOUGHT)).json()
    text = (await post(client, "/detokenize", tokens=read["tokens"])).json()["prompt"]
    assert text == THOUGHT
    assert read["count"] == len(read["tokens"])
    assert read["max_model_len"] == 200


async def test_logprobs_have_an_entry_a_token_in_both_apis(client: httpx2.AsyncClient) -> None:
    text = await complete(client, prompt="First", max_tokens=3, logprobs=2)
    asked = {"messages": [QUESTION], "max_tokens": 3, "logprobs": True, "top_logprobs": 2}
    chat = (await post(client, "/v1/chat/completions", **asked)).json()["choices"][0]["logprobs"]
    logprobs = text["logprobs"]
    assert isinstance(logprobs, dict)
    assert logprobs["tokens"] == [" we", " add", "."]
    assert logprobs["text_offset"] == [0, 3, 7]
    assert [len(entry) for entry in logprobs["top_logprobs"]] == [2, 2, 2]
    assert [len(entry["top_logprobs"]) for entry in chat["content"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "a", "temperature": -1}, "temperature"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "stop": [""]}, "stop"),
        ({"prompt": "a", "presence_penalty": 1.0}, "presence_penalty"),
        ({"prompt": "a", "echo": True, "stream": True}, "echo"),
        ({"prompt": "a", "prompt_logprobs": 0, "stream": True}, "prompt_logprobs"),
        ({"prompt": "a", "temprature": 1}, "temprature"),
        ({"prompt": "a", "temperature": "1"}, "temperature"),
        ({"prompt": "a", "stream": "yes"}, "stream"),
        ({"prompt": "a", "n": 10**9}, "n"),
        ({"prompt": ["a"] * 3000, "n": 2}, "n"),
        ({"prompt": "a", "n": 4096, "logprobs": 20, "max_tokens": 199}, "logprobs"),
        ({"prompt": "a", "max_tokens": 10**12}, "input_tokens"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a", "min_tokens": 17}, "min_tokens"),
        ({"prompt": "a", "top_k": 10**30}, "top_k"),
        ({"prompt": "a", "seed": 10**30}, "seed"),
        ({"prompt": "a", "stop": ["x"] * 1_000_000}, "stop"),
        ({"prompt": "a", "stop_token_ids": [2**20]}, "stop_token_ids"),
        ({"prompt": "a", "stream_options": {"continuous_usage_stats": True}}, "stream_options"),
        ({"prompt": "a", "tools": [{"x": "y" * 10**6}]}, "tools"),
        ({"prompt": [-1, 10**12]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a"]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 5000}, "prompt"),
        ({"prompt": "x" * 1_000_000}, "prompt"),
        ({"prompt": [10**7]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({}, "prompt"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    client: httpx2.AsyncClient, body: dict[str, object], param: str
) -> None:
    status, named, message = await refusal(client, "/v1/completions", **body)
    assert (status, named) == (400, param)
    assert message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"prompt": "a", "user": "\\ud800"}', "user"),
        (b'{"prompt": "\\udc00\\ud800"}', "prompt"),
        (b'{"prompt": "\xff"}', None),
        (b'{"prompt": "a", "temperature": NaN}', None),
        (b'{"prompt": "a", "temperature": 1e999}', "temperature"),
        (b'{"prompt": "a", "seed": ' + b"9" * 10_000 + b"}", None),
        (b'{"prompt": ' + b"[" * 100_000 + b"1" + b"]" * 100_000 + b"}", None),
        ('{"prompt": "a"}'.encode("utf-16"), None),
        (b"[1]", None),
        (b'"a"', None),
        (b"null", None),
        (b"", None),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_with_the_field_if_it_is_one(
    client: httpx2.AsyncClient, body: bytes, param: str | None
) -> None:
    json_type = {"content-type": "application/json"}
    refused = await client.post("/v1/completions", content=body, headers=json_type)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, param)
    assert 0 < len(error["message"]) < 1000


@pytest.mark.parametrize("tokens", [[2**20], [-1], [10**30], "a", [1.5]])
async def test_ids_that_are_no_tokens_have_no_text(
    client: httpx2.AsyncClient, tokens: object
) -> None:
    assert (await refusal(client, "/detokenize", tokens=tokens))[:2] == (400, "tokens")


async def test_neutral_values_of_unserved_fields_are_taken(client: httpx2.AsyncClient) -> None:
    neutral = {"presence_penalty": 0.0, "repetition_penalty": 1.0, "logit_bias": None, "user": "u"}
    assert (await complete(client, prompt="First", max_tokens=1, **neutral))["text"] == " we"


async def test_a_prompt_without_room_is_refused_with_the_context_length(
    client: httpx2.AsyncClient,
) -> None:
    status, param, message = await refusal(
        client, "/v1/completions", prompt="a " * 150, max_tokens=100
    )
    assert (status, param) == (400, "input_tokens")
    assert "maximum context length is 200 tokens" in message


async def test_both_template_flags_together_are_refused(client: httpx2.AsyncClient) -> None:
    chat = {"messages": [QUESTION], "continue_final_message": True}
    status, _, message = await refusal(client, "/v1/chat/completions", **chat)
    assert status == 400
    assert "add_generation_prompt=false" in message


async def test_an_unknown_model_is_not_found_and_the_known_are_named(
    client: httpx2.AsyncClient,
) -> None:
    found = await refusal(client, "/v1/completions", model="gpt", prompt="a")
    assert found[:2] == (404, "model")
    assert "'scripted'" in found[2]


async def test_a_body_that_is_no_json_is_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/completions", content=b"{")).status_code == 400


async def test_only_the_key_opens_the_door_and_health_has_none() -> None:
    async with (
        ScriptedServer("x", key="sesame") as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=False) as client,
    ):
        shut = await client.get("/v1/models")
        headers = {"authorization": "Bearer sesame"}
        opened = await client.get("/v1/models", headers=headers)
        wrong = await client.get("/version", headers={"authorization": "Bearer sesam"})
        health = await client.get("/health")
    codes = [reply.status_code for reply in (shut, opened, wrong, health)]
    assert codes == [401, 200, 401, 200]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_work_stops_when_the_client_goes_away(stream: bool) -> None:
    async with (
        ScriptedServer("x", latency=3600) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=False) as client,
    ):
        body = {"prompt": "a", "stream": stream}
        with pytest.raises(httpx2.ReadTimeout):
            await client.post("/v1/completions", json=body, timeout=0.2)
        await server.until(lambda s: s.aborted == 1)


def test_a_body_goes_out_before_its_head_is_acknowledged() -> None:
    with listen("127.0.0.1", 0) as port, socket.create_connection(port.getsockname()):
        served, _ = port.accept()
        with served:
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_template_that_refuses_a_chat_is_an_error_of_the_request() -> None:
    template = ChatTemplate("{{ raise_exception('no system turn') }}")
    with pytest.raises(WireError, match="no system turn"):
        template.render([QUESTION], generate=True, continue_final=False)


def test_a_template_cannot_reach_out_of_its_sandbox() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__ }}")
    with pytest.raises(WireError, match="unsafe"):
        template.render([QUESTION], generate=True, continue_final=False)


def test_a_message_that_its_template_drops_cannot_be_continued() -> None:
    template = ChatTemplate("{{ messages[0].content }}")
    partial = {"role": "assistant", "content": "First"}
    with pytest.raises(WireError, match="does not appear"):
        template.render([QUESTION, partial], generate=False, continue_final=True)


def test_a_continued_message_keeps_the_space_that_its_template_keeps() -> None:
    kept = ChatTemplate("{{ messages[0].content }}<end>")
    trimmed = ChatTemplate("{{ messages[0].content | trim }}<end>")
    chat = [{"role": "assistant", "content": "So.\n\n"}]
    assert kept.render(chat, generate=False, continue_final=True) == "So.\n\n"
    assert trimmed.render(chat, generate=False, continue_final=True) == "So."


class Breaking(ScriptedModel):
    """A backend that fails after its first piece."""

    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        yield Piece("So")
        raise RuntimeError("the cache is gone")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_an_error_within_a_stream_is_an_event_of_it(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Breaking("", {"one": Card(64, WordTokenizer.size)}, TEMPLATE, WordTokenizer(), 0)
    asked = {"stream": True, "messages": [QUESTION]}
    if path == "/v1/completions":
        asked = {"stream": True, "prompt": "a"}
    with serve(build_app(model)) as url:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
            told = (await client.post(path, json=asked)).text.split("\n\n")
    first, broken, done, _ = told
    assert "So" in first
    assert json.loads(broken.removeprefix("data: "))["error"]["message"] == (
        "RuntimeError: the cache is gone"
    )
    assert done == "data: [DONE]"
    assert caplog.messages == ["a stream failed"]
