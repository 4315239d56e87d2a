"""The replies that real servers give: each is read, or refused with its reason."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from collab.core.sampling import Generation, OpenTurn, Request, Sampling
from collab.core.trajectory import Message
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, TextDialect
from collab.endpoints.error_kinds import kind_of, wait_in
from collab.endpoints.finish_reasons import REASONS
from collab.endpoints.limits import Limits
from collab.endpoints.registry import CHATS
from collab.errors import BadReply, ConfigError, ContextFull, Denied, Rejected, Unreachable
from collab.serving import serve
from collab.templates.template import Template

Json = Any  # a reply holds anything
USAGE = {"prompt_tokens": 3, "completion_tokens": 1}
WHOLE = {"choices": [{"index": 0, "text": "one", "finish_reason": "stop"}], "usage": USAGE}


class Impatient(random.Random):
    """Chooses pauses of no length."""

    def uniform(self, a: float, b: float) -> float:
        return a


class Bodies:
    """A server that sends one body after the other, and the last one from then on."""

    def __init__(self, *bodies: Json, status: int = 200, path: str = "") -> None:
        self.bodies, self.status, self.path, self.asked = list(bodies), status, path, 0

    async def answer(self, request: WebRequest) -> Response:
        if self.path and not request.url.path.endswith(self.path):
            return Response(json.dumps(WHOLE), media_type="application/json")
        body = self.bodies[min(self.asked, len(self.bodies) - 1)]
        self.asked += 1
        if isinstance(body, list) and body and isinstance(body[0], bytes):
            return Response(b"".join(body), media_type="text/event-stream")
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(content, self.status, media_type="application/json")


@asynccontextmanager
async def at(
    bodies: Bodies, *, limits: Limits | None = None, **fields: Any
) -> AsyncIterator[Endpoint]:
    app = Starlette(routes=[Route("/{path:path}", bodies.answer, methods=["GET", "POST"])])
    with serve(app) as url:
        few = limits or Limits(retries=2)
        async with Endpoint(url, "m", rng=Impatient(), limits=few, **fields) as endpoint:
            yield endpoint


def asking(prompt: str | OpenTurn = "abc", **fields: Any) -> Request:
    known: Json = {"sampling": Sampling(), "max_tokens": 8}
    return Request("identity", prompt, **(known | fields))


async def drawn(body: Json, status: int = 200, **fields: Any) -> Generation:
    """Draw once from a server that sends one body."""
    async with at(Bodies(body, status=status)) as endpoint:
        (found,) = await endpoint.complete(asking(**fields), range(1), seed=0)
    return found


def ended(reason: Json, text: Json = "one") -> Json:
    return {"choices": [{"text": text, "finish_reason": reason}], "usage": USAGE}


# the end


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(
            (word, "stop")
            for word in ("stop", "eos", "eos_token", "end_turn", "STOP", "tool_calls")
        ),
        *((word, "stop") for word in ("end", "stop_sequence", "stop-sequence", "repetition")),
        *((word, "context") for word in ("length", "max_tokens", "model_length", "MAX_TOKENS")),
        *((word, "abort") for word in ("content_filter", "SAFETY", "refusal", "sensitive")),
        ({"type": "length"}, "context"),
    ],
)
async def test_every_known_finish_reason_is_read(reason: Json, finish: str) -> None:
    assert (await drawn(ended(reason))).finish == finish


@pytest.mark.parametrize("reason", ["tired", None, 7])
async def test_an_unknown_finish_reason_of_a_text_is_a_stop_that_is_noted(reason: Json) -> None:
    async with at(Bodies(ended(reason))) as endpoint:
        for _ in range(2):
            (one,) = await endpoint.complete(asking(), range(1), seed=0)
            assert (one.text, one.finish) == ("one", "stop")
        named = "no finish_reason" if reason is None else f"finish_reason {str(reason)!r}"
        assert endpoint.oddities == {named: 2}


async def test_a_missing_finish_reason_at_the_limit_is_a_cut() -> None:
    whole = {"choices": [{"text": "a b c"}], "usage": {"prompt_tokens": 3, "completion_tokens": 8}}
    assert (await drawn(whole)).finish == "length"


@pytest.mark.parametrize("reason", ["abort", "network_error", "insufficient_system_resource"])
async def test_a_draw_that_the_server_gave_up_is_made_again(reason: str) -> None:
    bodies = Bodies(ended(reason, "half"), WHOLE)
    async with at(bodies) as endpoint:
        (one,) = await endpoint.complete(asking(), range(1), seed=0)
    assert (one.text, bodies.asked) == ("one", 2)


def test_no_finish_reason_means_two_things() -> None:
    assert all(word == word.lower() and "-" not in word for word in REASONS)


# odd fields


@pytest.mark.parametrize(
    ("fields", "odd"),
    [
        ({"usage": {"prompt_tokens": None}}, "prompt_tokens null"),
        ({"usage": {"prompt_tokens": -5}}, "prompt_tokens -5"),
        ({"usage": {"prompt_tokens": 10**18}}, "prompt_tokens 1e+18"),
        ({"usage": {**USAGE, "completion_tokens": 10**30}}, "completion_tokens 1e+30"),
        ({"usage": {**USAGE, "prompt_tokens_details": []}}, "prompt_tokens_details a list"),
        ({"usage": []}, "usage a list"),
        ({"usage": "many"}, "usage a string"),
        ({"model": {}}, "model an object"),
        ({"prompt_token_ids": "none"}, "prompt_token_ids a string"),
    ],
)
async def test_an_odd_field_is_passed_over_and_counted(fields: Json, odd: str) -> None:
    async with at(Bodies(WHOLE | fields)) as endpoint:
        (one,) = await endpoint.complete(asking(), range(1), seed=0)
        assert (one.text, one.prompt_tokens in (0, 3)) == ("one", True)
        assert list(endpoint.oddities) == [odd]


@pytest.mark.parametrize(
    "fields",
    [
        {"index": None},
        {"stop_reason": []},
        {"token_ids": [None]},
        {"logprobs": {"token_logprobs": "no", "top_logprobs": None}},
        {"logprobs": []},
    ],
)
async def test_an_odd_field_of_a_choice_is_passed_over_and_counted(fields: Json) -> None:
    choice = {"index": 0, "text": "one", "finish_reason": "stop", **fields}
    async with at(Bodies(WHOLE | {"choices": [choice]})) as endpoint:
        (one,) = await endpoint.complete(asking(), range(1), seed=0)
        assert (one.text, one.ids, one.finish) == ("one", None, "stop")
        assert sum(endpoint.oddities.values()) == 1


@pytest.mark.parametrize("fields", [{"system_fingerprint": 12}, {"id": None}, {"error": None}])
async def test_a_field_that_servers_spell_in_several_ways_is_not_odd(fields: Json) -> None:
    async with at(Bodies(WHOLE | fields)) as endpoint:
        await endpoint.complete(asking(), range(1), seed=0)
        assert not endpoint.oddities


async def test_an_unknown_log_probability_is_never_a_certainty() -> None:
    logprobs = {
        "token_logprobs": [None, -0.5],
        "top_logprobs": [{"a": None, "b": -1.0}, {"c": -0.1}],
    }
    choice = {"text": "one", "finish_reason": "stop", "logprobs": logprobs}
    found = await drawn({"choices": [choice], "usage": USAGE}, logprobs=2)
    assert found.logprobs is not None
    assert found.logprobs.drawn == ()
    assert found.logprobs.tops == ((("b", -1.0),), (("c", -0.1),))


async def test_choices_without_an_index_keep_their_order() -> None:
    choices = [{"text": text, "finish_reason": "stop"} for text in ("one", "two")]
    async with at(Bodies({"choices": choices, "usage": USAGE})) as endpoint:
        found = await endpoint.complete(asking(), range(2), seed=0)
    assert [one.text for one in found] == ["one", "two"]


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None},
        {"usage": USAGE},
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
        {"choices": [{"text": None, "finish_reason": "stop"}]},
        {"choices": [{"text": {}, "finish_reason": "stop"}]},
        {"choices": "x" * 9_999},
    ],
)
async def test_a_reply_without_choices_or_text_is_an_error_that_quotes_it(body: Json) -> None:
    with pytest.raises(BadReply, match=r"no (choices|text)\).*(choices|usage)") as caught:
        await drawn(body)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "before", [b": OPENROUTER PROCESSING\n\n", b"\xef\xbb\xbf", b"\r\n\n", b": a\n: b\n\n"]
)
async def test_what_routers_put_before_the_json_is_skipped(before: bytes) -> None:
    assert (await drawn(before + json.dumps(WHOLE).encode())).text == "one"


# errors


@pytest.mark.parametrize("status", [200, 400, 413, 422, 500, 503])
@pytest.mark.parametrize(
    "message",
    [
        "Context size has been exceeded.",
        "Your request exceeded model token limit: 131072",
        "Range of input length should be [1, 129024]",
        "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens",
        "Input tokens exceed the configured limit of 272000 tokens.",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Too many input tokens. Max input tokens: 8192, request input token count: 9000",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Model context limit reached: 5000/4096",
    ],
)
async def test_a_full_context_is_one_at_any_status(message: str, status: int) -> None:
    bodies = Bodies({"error": {"message": message}}, status=status)
    async with at(bodies) as endpoint:
        with pytest.raises(ContextFull):
            await endpoint.complete(asking(), range(1), seed=0)
    assert bodies.asked == 1


@pytest.mark.parametrize(
    ("status", "codes", "message", "kind"),
    [
        (400, (), "Unsupported field 'context_window_hint'", "refused"),
        (400, (), "Unknown parameter: 'max_context_length'", "refused"),
        (
            400,
            (),
            "max_tokens is too large: at most 4 completion tokens are supported",
            "refused",
        ),
        (
            413,
            (),
            "tokens per minute (TPM): Limit 6000, Used 5000, Requested 3000",
            "rate limit",
        ),
        (413, (), "on tokens per minute (TPM): Limit 6000, Requested 9000", "refused"),
        (413, (), "tokens per minute exceeded, reduce the length of your messages", "rate limit"),
        (429, (), "the engine is overloaded", "rate limit"),
        (429, ("insufficient_quota",), "You exceeded your current quota", "quota"),
        (429, (), "You exceeded your current quota, please retry in 3s", "rate limit"),
        (None, ("402",), "Insufficient Balance", "quota"),
        (403, (), "Your input was flagged", "moderation"),
        (403, (), "Forbidden", "denied"),
        (400, ("data_inspection_failed",), "x", "moderation"),
        (400, (), "Content Exists Risk", "moderation"),
        (401, (), "Authentication Fails", "denied"),
        (400, (), "Incorrect API key provided", "denied"),
        (500, (), "The model `x` does not exist in the cache", "transient"),
        (501, (), "no", "refused"),
        (None, ("server_error",), "x", "transient"),
        (None, (), "x", "unknown"),
    ],
)
def test_errors_are_told_apart_by_code_then_wording_then_status(
    status: int | None, codes: tuple[str, ...], message: str, kind: str
) -> None:
    assert kind_of(status, codes, message) == kind


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 6m0s.", 360),
        ("try again in 240ms", 0.24),
        ("retry after 5 seconds", 5),
        ("try again later", None),
    ],
)
def test_a_pause_is_read_from_a_message(message: str, seconds: float | None) -> None:
    assert wait_in(message) == seconds


LIMITED: tuple[Json, ...] = (
    {"error": {"message": "Rate limit exceeded", "code": 429}},
    {"error": {"message": "x", "type": "rate_limit_error"}},
    {"error": "Too many requests"},
    {"message": "Too many requests"},
    {"object": "error", "message": "slow down", "code": 429},
    [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}],
    {"choices": [{"error": {"code": 429, "message": "x"}, "text": "", "finish_reason": "error"}]},
    {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "{}"}}},
)


@pytest.mark.parametrize("error", LIMITED)
async def test_an_error_that_may_pass_is_repeated_though_its_status_is_200(error: Json) -> None:
    bodies = Bodies(error, WHOLE)
    async with at(bodies) as endpoint:
        (one,) = await endpoint.complete(asking(), range(1), seed=0)
    assert (one.text, bodies.asked) == ("one", 2)


@pytest.mark.parametrize("status", [200, 402, 403, 429])
@pytest.mark.parametrize(
    "error",
    [
        {"message": "Insufficient credits", "code": 402},
        {"message": "You exceeded your current quota", "code": "insufficient_quota"},
        {"message": "x", "type": "billing_error"},
    ],
)
async def test_an_empty_account_is_final_at_once(error: Json, status: int) -> None:
    bodies = Bodies({"error": error}, status=status)
    async with at(bodies) as endpoint:
        with pytest.raises(Denied):
            await endpoint.complete(asking(), range(1), seed=0)
    assert bodies.asked == 1


async def test_the_error_behind_a_router_counts() -> None:
    raw = json.dumps({"error": {"message": "Range of input length should be [1, 129024]"}})
    error = {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}
    with pytest.raises(ContextFull, match="129024"):
        await drawn({"error": error}, 400)


async def test_a_moderated_prompt_is_refused_and_not_a_wrong_key() -> None:
    with pytest.raises(Rejected, match="flagged") as caught:
        await drawn({"error": {"message": "Your input was flagged", "code": 403}}, 403)
    assert not isinstance(caught.value, Denied)


# chat


def turn(dialect: str, **fields: Any) -> OpenTurn:
    return OpenTurn(dialect, (Message("user", "How much?"),), **fields)


async def chat(message: Json, dialect: str = "none", **extra: Any) -> Generation:
    form = CHATS[dialect](None, "<think>\n", "</think>")
    body = {"choices": [{"message": message, "finish_reason": "stop"} | extra], "usage": USAGE}
    async with at(Bodies(body), form=form) as endpoint:
        (found,) = await endpoint.complete(asking(turn(dialect)), range(1), seed=0)
    return found


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning_text": "Hm."},
        {"thinking": "Hm."},
        {"reasoning": {"content": "Hm."}},
        {"reasoning": {"summary": [{"type": "summary_text", "text": "Hm."}]}},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm."},
                {"type": "x", "data": 1},
            ]
        },
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]},
        {"reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]},
        {"reasoning_content": None, "reasoning": {}, "thinking": "Hm."},
    ],
)
async def test_thinking_is_found_in_every_field(thought: Json) -> None:
    assert (await chat({"content": "7", **thought})).text == "Hm.</think>7"


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "7"}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, "7"],
        [{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": "7"}],
        [{"thinking": "Hm."}, {"text": "7"}],
    ],
)
async def test_thinking_is_found_in_the_parts_of_a_content(parts: Json) -> None:
    assert (await chat({"content": parts})).text == "Hm.</think>7"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Hm.</think>7"}, "Hm.</think>7"),
        ({"content": "<think>\nHm.</think>7"}, "Hm.</think>7"),
        ({"reasoning": "Hm.", "content": "</think>7"}, "Hm.</think>7"),
        ({"reasoning": "Hm.", "content": "Hm.</think>7"}, "Hm.</think>7"),
        ({"reasoning": "Hm.", "content": "<think></think>7"}, "Hm.</think>7"),
        ({"reasoning": "Hm. ", "content": "So.</think>7"}, "Hm. So.</think>7"),
        ({"content": [{"type": "text", "text": "Hm.</think>"}, "7"]}, "Hm.</think>7"),
    ],
)
async def test_a_turn_has_one_close_tag(message: Json, text: str) -> None:
    assert (await chat(message)).text == text


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I'm sorry, but I can't assist with that."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
        {"content": "", "refusal": "No."},
    ],
)
async def test_a_refusal_by_the_api_is_one(message: Json) -> None:
    assert (await chat(message)).finish == "abort"


async def test_a_call_of_a_tool_is_a_draw_without_text() -> None:
    message = {"content": None, "tool_calls": [{"function": {"name": "f"}}]}
    found = await chat(message, finish_reason="tool_calls")
    assert (found.text, found.finish) == ("", "stop")


@pytest.mark.parametrize("message", [{"content": None}, {}, None])
async def test_a_message_without_any_text_is_an_error_unless_it_was_cut(message: Json) -> None:
    with pytest.raises(BadReply, match="no text"):
        await chat(message)
    assert (await chat(message, finish_reason="length")).text == ""


# streams


def event(**choice: Any) -> bytes:
    return sse({"choices": [choice]})


def sse(content: Json) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def streamed(*bodies: Json) -> tuple[list[str], Generation]:
    heard: list[str] = []
    async with at(Bodies(*bodies)) as endpoint:
        (one,) = await endpoint.complete(asking(), range(1), seed=0, on_text=heard.append)
    return heard, one


LAST: tuple[list[bytes], ...] = (
    [event(text="", finish_reason="stop"), DONE],
    [event(text="", finish_reason="stop"), sse({"usage": USAGE}), DONE],
    [event(text="", finish_reason="stop"), sse({"choices": None, "usage": USAGE}), DONE],
    [event(text=None, finish_reason="stop"), DONE],
    [event(finish_reason="stop"), event(text=None, finish_reason=None), DONE],
    [b": keep-alive\n\n", event(finish_reason="eos_token")],
    [DONE],
)


@pytest.mark.parametrize("last", LAST)
async def test_what_ends_a_stream_breaks_nothing(last: list[bytes]) -> None:
    heard, one = await streamed([event(text="Let x "), event(text="be 3."), *last])
    assert (heard, one.text, one.finish) == (["Let x ", "be 3."], "Let x be 3.", "stop")


BROKEN: tuple[bytes, ...] = (
    sse(
        {
            "error": {"code": 502, "message": "Bad gateway"},
            "choices": [{"delta": {}, "finish_reason": "error"}],
        }
    ),
    sse({"error": {"message": "the engine died"}}),
    event(text="", finish_reason="error"),
    sse({"error": {"message": "Context size has been exceeded."}}),
    sse({"error": {"message": "Rate limit exceeded", "code": 429}}),
    b"<html>",
    b"",
)


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_draw_that_a_reader_has_seen_is_never_made_again(broken: bytes) -> None:
    whole = [event(text="Let x be 4."), event(text="", finish_reason="stop"), DONE]
    heard: list[str] = []
    cut: list[Generation] = []
    bodies = Bodies([event(text="Let x be 3, so"), broken], whole)
    async with at(bodies) as endpoint:
        with pytest.raises((Unreachable, BadReply, ContextFull)):
            await endpoint.complete(
                asking(), range(1), seed=0, on_text=heard.append, on_cut=cut.append
            )
    assert (heard, bodies.asked) == (["Let x be 3, so"], 1)
    assert [one.text for one in cut] == ["Let x be 3, so"]


async def test_a_draw_that_a_reader_has_seen_is_not_made_again_after_its_timeout() -> None:
    asked = 0

    async def hang(request: WebRequest) -> Response:
        nonlocal asked
        asked += 1

        async def parts() -> AsyncIterator[bytes]:
            yield event(text="Let x")
            await asyncio.Event().wait()

        return StreamingResponse(parts(), media_type="text/event-stream")

    bodies = Bodies()
    bodies.answer = hang  # type: ignore[method-assign]  # the server hangs
    heard: list[str] = []
    async with at(bodies, limits=Limits(timeout=0.5)) as endpoint:
        with pytest.raises(Unreachable, match="no answer within"):
            await endpoint.complete(asking(), range(1), seed=0, on_text=heard.append)
    assert (heard, asked) == (["Let x"], 1)


async def test_an_error_before_the_first_text_of_a_stream_is_repeated() -> None:
    heard, one = await streamed(
        [sse({"error": {"code": 429, "message": "x"}})],
        {"error": {"code": 503, "message": "loading"}},
        [event(text="one"), event(finish_reason="stop"), DONE],
    )
    assert (heard, one.text) == (["one"], "one")


async def test_a_server_that_does_not_stream_is_read_whole() -> None:
    heard, one = await streamed(WHOLE)
    assert (heard, one.text, one.finish) == (["one"], "one", "stop")


# models

FRAME = Frame(Template("{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}"))


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        ([{"id": "m", "max_model_len": 64}], False),
        ({"data": [{"id": "m", "max_model_len": 64}, {"name": "x"}]}, False),
        ({"data": None}, True),
        ({"data": [{"name": "x"}]}, True),
        ([], True),
    ],
)
async def test_every_form_of_a_list_of_models_is_read(body: Json, noted: bool) -> None:
    async with at(Bodies(body, path="/models")) as endpoint:
        profile = await check(endpoint, TextDialect(FRAME), None)
        assert profile.max_model_len == (None if noted else 64)
        assert ("no model in the list of models" in endpoint.oddities) is noted


@pytest.mark.parametrize("status", [400, 404, 405, 410, 501])
@pytest.mark.parametrize("body", [b"", {"error": {"message": "no such route"}}])
async def test_a_server_that_lists_no_models_may_still_complete(status: int, body: Json) -> None:
    async with at(Bodies(body, status=status, path="/models")) as endpoint:
        profile = await check(endpoint, TextDialect(FRAME), None)
        assert profile.checked == "real"
        assert list(endpoint.oddities) == [f"no list of models (answered {status})"]


async def test_a_list_of_other_models_still_stops_the_start() -> None:
    async with at(Bodies([{"id": "other"}], path="/models")) as endpoint:
        with pytest.raises(ConfigError, match="it serves: 'other'"):
            await check(endpoint, TextDialect(FRAME), None)
