import asyncio
import json
import math
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, pre_tokenizers

from collab.core.sampling import Generation, Prompt, Request, Sampling
from collab.endpoints.check import check
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect, TextDialect
from collab.endpoints.limits import Limits
from collab.endpoints.scripted import ScriptedServer
from collab.endpoints.tokens import Tokenizer
from collab.errors import BadReply, ConfigError, ContextFull, Rejected, Unreachable
from collab.templates.template import Template

Body = dict[str, Any]  # JSON
Answer = Callable[[Body], Response | Awaitable[Response]]
BASE_URL = "the model's base_url"


class Fake:
    """A server that keeps what it was sent and answers as it is told, path by path."""

    def __init__(self) -> None:
        self.seen: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Answer] = {}
        self.gone = asyncio.Event()

    async def answer(self, request: WebRequest) -> Response:
        body = json.loads(await request.body() or "{}")
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        answer = self.answers[request.url.path](body)
        return answer if isinstance(answer, Response) else await answer


class Impatient(random.Random):
    """Chooses pauses of no length."""

    def uniform(self, a: float, b: float) -> float:
        return a


@asynccontextmanager
async def serving(fake: Fake, uds: str | None = None) -> AsyncIterator[str]:
    app = Starlette(routes=[Route("/{path:path}", fake.answer, methods=["GET", "POST"])])
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    listener.bind(uds or ("127.0.0.1", 0))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield "http://localhost" if uds else f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
async def fake() -> Fake:
    return Fake()


@pytest.fixture
async def url(fake: Fake) -> AsyncIterator[str]:
    async with serving(fake) as url:
        yield url


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One token a byte, and an end token; made without training."""
    alphabet = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = RawTokenizer(models.BPE(vocab=alphabet, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(["<|end|>"])
    return Tokenizer(raw, "bytes", frozenset({raw.get_vocab_size() - 1}))


def asking(prompt: Prompt = (1, 2, 3), **fields: Any) -> Request:
    return Request(
        model="identity", prompt=prompt, max_tokens=8, **({"sampling": Sampling()} | fields)
    )


def reply(
    body: Body, texts: list[str], tokenizer: Tokenizer, finish: str = "stop", **extra: Any
) -> Response:
    choices = [
        {
            "index": i,
            "text": text,
            "finish_reason": finish,
            "stop_reason": None,
            "token_ids": tokenizer.encode(text),
            "prompt_token_ids": body["prompt"],
        }
        | extra
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 99}
    return JSONResponse({"choices": choices, "usage": usage})


async def test_n_draws_are_one_request_that_names_every_sampling_field(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["a", "bb"], tokenizer)
    sampling = Sampling(temperature=0.7, top_k=20, presence_penalty=0.5)
    async with Endpoint(url, "served", tokenizer) as endpoint:
        drawn = await endpoint.complete(
            asking(sampling=sampling, stop=("\n\n",)), range(5, 7), seed=11
        )
    assert [(g.text, g.ids, g.completion_tokens) for g in drawn] == [
        ("a", tokenizer.encode("a"), 1),
        ("bb", tokenizer.encode("bb"), 2),
    ]
    assert fake.seen == [
        sampling.model_dump()
        | {"model": "served", "prompt": [1, 2, 3], "n": 2, "seed": 11, "max_tokens": 8}
        | {"stop": ["\n\n"], "add_special_tokens": False, "include_stop_str_in_output": True}
        | {"return_token_ids": True}
    ]


async def test_choices_come_back_in_the_order_of_their_index(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    def backwards(body: Body) -> Response:
        content = json.loads(bytes(reply(body, ["a", "b"], tokenizer).body))
        return JSONResponse(content | {"choices": content["choices"][::-1]})

    fake.answers["/v1/completions"] = backwards
    async with Endpoint(url, "m", tokenizer) as endpoint:
        drawn = await endpoint.complete(asking(), range(2), seed=0)
    assert [g.text for g in drawn] == ["a", "b"]


async def test_a_server_that_ignores_n_gives_the_first_draw_and_is_remembered(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, [f"s{body['seed']}"], tokenizer)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        first = await endpoint.complete(asking(), range(3), seed=7)
        assert not endpoint.profile.takes_n
        second = await endpoint.complete(asking(), range(2), seed=20)
    assert [g.text for g in (*first, *second)] == ["s7", "s20"]
    assert [(body["n"], body["seed"]) for body in fake.seen] == [(3, 7), (1, 20)]


async def test_a_server_that_refuses_n_is_asked_for_one_draw_and_remembered() -> None:
    async with (
        ScriptedServer(["one", "two"], traits=["n_refused"]) as server,
        Endpoint(server.url, "scripted") as endpoint,
    ):
        (drawn,) = await endpoint.complete(asking("Q"), range(3), seed=1)
        assert not endpoint.profile.takes_n
    assert drawn.text == "two"
    assert [sent.body["n"] for sent in server.generating] == [3, 1]


async def test_a_greedy_draw_is_asked_for_alone(fake: Fake, url: str, tokenizer: Tokenizer) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        await endpoint.complete(asking(sampling=Sampling(temperature=0)), range(2), seed=0)
        assert endpoint.profile.takes_n
    assert [body["n"] for body in fake.seen] == [1]


async def test_a_wrong_number_of_choices_is_no_reply(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["a", "b"], tokenizer)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(BadReply, match="returned 2 choices for n=3"):
            await endpoint.complete(asking(), range(3), seed=0)


async def test_the_text_is_the_decoding_of_the_ids_and_not_the_servers_cut(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(
        body, ["cut"], tokenizer, token_ids=tokenizer.encode("cut.\n\n\n"), stop_reason="\n\n"
    )
    async with Endpoint(url, "m", tokenizer) as endpoint:
        (drawn,) = await endpoint.complete(asking(stop=("\n\n",)), range(1), seed=0)
    assert (drawn.text, drawn.stop_reason) == ("cut.\n\n\n", "\n\n")


async def test_a_prompt_that_the_server_changed_is_refused_at_its_first_differing_token(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(
        body, ["x"], tokenizer, prompt_token_ids=[0, *body["prompt"]]
    )
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(
            BadReply, match=r"changed the prompt: token 0 was sent as 1 and read as 0"
        ):
            await endpoint.complete(asking(), range(1), seed=0)


@pytest.mark.parametrize(("counted", "exact"), [(3, True), (4, False)])
async def test_a_server_that_echoes_no_prompt_must_count_its_tokens_right(
    fake: Fake, url: str, tokenizer: Tokenizer, counted: int, exact: bool
) -> None:
    choice = {"text": "x", "finish_reason": "length", "token_ids": [1]}
    fake.answers["/v1/completions"] = lambda body: JSONResponse(
        {"choices": [choice], "usage": {"prompt_tokens": counted}}
    )
    async with Endpoint(url, "m", tokenizer) as endpoint:
        if exact:
            assert len(await endpoint.complete(asking(), range(1), seed=0)) == 1
        else:
            with pytest.raises(BadReply, match="3 tokens were sent, it counts 4"):
                await endpoint.complete(asking(), range(1), seed=0)


async def test_a_changed_prompt_of_any_choice_is_refused(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    def answer(body: Body) -> Response:
        content = json.loads(bytes(reply(body, ["a", "b"], tokenizer).body))
        content["choices"][1]["prompt_token_ids"] = [1, 2, 3, 4]
        return JSONResponse(content)

    fake.answers["/v1/completions"] = answer
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(
            BadReply, match=r"token 3 was sent as None and read as 4 \(3 tokens sent, 4 read"
        ):
            await endpoint.complete(asking(), range(2), seed=0)


async def test_an_aborted_draw_is_no_sample_and_is_drawn_again(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    finishes = iter(["abort", "length"])
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer, next(finishes))
    async with Endpoint(url, "m", tokenizer, rng=Impatient()) as endpoint:
        (drawn,) = await endpoint.complete(asking(), range(1), seed=0)
    assert drawn.finish == "context"  # it gave one token of eight


async def test_an_unknown_finish_reason_without_text_is_no_reply(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, [""], tokenizer, "tired")
    async with Endpoint(url, "m", tokenizer, limits=Limits(retries=0)) as endpoint:
        with pytest.raises(BadReply, match="finish_reason 'tired'"):
            await endpoint.complete(asking(), range(1), seed=0)


async def test_a_reply_without_ids_to_a_prompt_of_ids_is_refused(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer, token_ids=None)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(BadReply, match=r"returned no token ids .* which dialect 'ids' needs"):
            await endpoint.complete(asking(), range(1), seed=0)


async def test_a_text_prompt_gets_back_the_stop_string_that_a_server_cut_off(
    fake: Fake, url: str
) -> None:
    choice = {"text": "one.", "finish_reason": "stop", "stop_reason": "\n\n"}
    fake.answers["/v1/completions"] = lambda body: JSONResponse(
        {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    )
    async with Endpoint(url, "m") as endpoint:
        (drawn,) = await endpoint.complete(asking("Q: ", stop=("\n\n",)), range(1), seed=0)
    assert (drawn.text, drawn.ids) == ("one.\n\n", None)
    assert (drawn.prompt_tokens, drawn.completion_tokens) == (9, 4)
    assert fake.seen[0]["prompt"] == "Q: "
    assert fake.seen[0]["add_special_tokens"] is False


async def test_without_ids_each_of_several_draws_has_its_share_of_the_count(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    texts = ["one two three", "one"]
    choices = [{"text": t, "index": n, "finish_reason": "stop"} for n, t in enumerate(texts)]
    fake.answers["/v1/completions"] = lambda body: JSONResponse(
        {"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 8}}
    )
    async with Endpoint(url, "m") as endpoint:
        drawn = await endpoint.complete(asking("Q: "), range(2), seed=0)
    assert [one.completion_tokens for one in drawn] == [round(8 * 13 / 16), round(8 * 3 / 16)]
    async with Endpoint(url, "m", tokenizer) as endpoint:
        drawn = await endpoint.complete(asking("Q: "), range(2), seed=0)
    assert [one.completion_tokens for one in drawn] == [len(tokenizer.encode(t)) for t in texts]


async def test_a_stop_string_is_found_in_the_text_of_a_server_that_names_none(
    fake: Fake, url: str
) -> None:
    choice = {"text": "one.\n\n", "finish_reason": "stop"}
    fake.answers["/v1/completions"] = lambda body: JSONResponse({"choices": [choice]})
    async with Endpoint(url, "m") as endpoint:
        (drawn,) = await endpoint.complete(asking("Q", stop=("##", "\n\n")), range(1), seed=0)
    assert drawn.stop_reason == "\n\n"


async def test_chances_are_those_of_the_likeliest_tokens_asked_for(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    even = {"token_id:1": math.log(0.4), "token_id:2": math.log(0.4), "token_id:3": -20.0}
    sure = {"token_id:1": 0.0, "token_id:2": -9e9}
    fake.answers["/v1/completions"] = lambda body: reply(
        body,
        ["ab"],
        tokenizer,
        logprobs={"top_logprobs": [even, sure], "token_logprobs": [even["token_id:2"], 0.0]},
    )
    async with Endpoint(url, "m", tokenizer) as endpoint:
        (drawn,) = await endpoint.complete(asking(logprobs=2), range(1), seed=0)
    said = drawn.logprobs
    assert said is not None
    assert said.entropies == pytest.approx([math.log(2), 0])
    assert said.drawn == pytest.approx((math.log(0.4), 0), abs=1e-6)
    assert [[token for token, _ in top] for top in said.tops] == [
        ["token_id:1", "token_id:2"],
        ["token_id:1", "token_id:2"],
    ]
    assert said.tops[1][1][1] == -9999
    assert fake.seen[0]["logprobs"] == 2


@pytest.mark.parametrize(("stop", "shown"), [("<|end|>", True), ("\n\n", False)])
async def test_special_tokens_are_shown_where_a_stop_string_holds_one(
    fake: Fake, url: str, tokenizer: Tokenizer, stop: str, shown: bool
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        await endpoint.complete(asking(stop=(stop,)), range(1), seed=0)
    assert ("skip_special_tokens" in fake.seen[0]) == shown


async def test_fields_that_a_server_does_not_take_are_left_out_and_its_own_are_added(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    drop = frozenset({"top_k", "min_p"})
    async with Endpoint(url, "m", tokenizer, drop=drop, extra={"priority": 1}) as endpoint:
        await endpoint.complete(asking(), range(1), seed=0)
    assert not drop & fake.seen[0].keys()
    assert fake.seen[0]["priority"] == 1


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (400, {"error": {"message": "bad temperature"}}, Rejected, "400: bad temperature"),
        (401, {"error": {"message": "no"}}, Rejected, "api_key_env"),
        (404, {"error": {"message": "no model 'm'"}}, Rejected, "no model 'm'"),
        (422, {"detail": "field n"}, Rejected, "field n"),
        (
            400,
            {"error": {"message": "This model's maximum context length is 64 tokens."}},
            ContextFull,
            "64 tokens",
        ),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, ContextFull, "x"),
        (400, {"message": "max_tokens must be at least 1, got 0."}, ContextFull, "got 0"),
        (404, "<html>nothing</html>", BadReply, "/v1/completions answered 404.*nothing"),
        (
            200,
            "<html>welcome</html>",
            BadReply,
            "/v1/completions sent a reply that is not JSON of the API.*welcome",
        ),
        (200, {"error": {"message": "oops"}}, BadReply, "oops"),
        (200, {"choices": [{"index": 0}]}, BadReply, "no text.*index"),
        (301, "", BadReply, "redirects are not followed"),
    ],
)
async def test_a_refusal_is_one_clear_error_after_one_request(
    fake: Fake,
    url: str,
    tokenizer: Tokenizer,
    status: int,
    body: str | Body,
    error: type[Exception],
    message: str,
) -> None:
    headers = {"location": "/elsewhere"} if status == 301 else {}
    made = (
        Response(body, status, headers, "text/html")
        if isinstance(body, str)
        else JSONResponse(body, status)
    )
    fake.answers["/v1/completions"] = lambda _: made
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(error, match=message):
            await endpoint.complete(asking(), range(1), seed=0)
    assert len(fake.seen) == 1


async def test_a_reply_that_is_no_utf8_is_none_and_nothing_is_put_in_its_place(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    def broken(body: Body) -> Response:
        content = bytes(reply(body, ["caf?"], tokenizer).body)
        return Response(content.replace(b"caf?", b"caf\xc3"), media_type="application/json")

    fake.answers["/v1/completions"] = broken
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(BadReply, match="not UTF-8"):
            await endpoint.complete(asking(), range(1), seed=0)


async def test_a_server_calls_its_model_as_it_likes_but_one_way(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    names = iter(["m-2026-01", None, "m", "other", "m"])

    def named(body: Body) -> Response:
        content = json.loads(bytes(reply(body, ["x"], tokenizer).body))
        return JSONResponse(content | {"model": next(names)})

    fake.answers["/v1/completions"] = named
    limits = Limits(retries=0)
    async with Endpoint(url, "m", tokenizer, limits=limits) as endpoint:
        for _ in range(3):
            await endpoint.complete(asking(), range(1), seed=0)
        with pytest.raises(BadReply, match="answered as model 'other', but earlier as 'm'"):
            await endpoint.complete(asking(), range(1), seed=0)
    fake.seen.clear()
    names = iter(["m", "other", "m"])
    async with Endpoint(url, "m", tokenizer, rng=Impatient()) as endpoint:
        for _ in range(2):
            await endpoint.complete(asking(), range(1), seed=0)
    assert len(fake.seen) == 3


async def test_a_passing_refusal_is_tried_again(fake: Fake, url: str, tokenizer: Tokenizer) -> None:
    statuses = iter([429, 503, 200])

    def answer(body: Body) -> Response:
        status = next(statuses)
        if status == 200:
            return reply(body, ["x"], tokenizer)
        return JSONResponse({"error": {"message": "busy"}}, status, {"retry-after": "0"})

    fake.answers["/v1/completions"] = answer
    async with Endpoint(url, "m", tokenizer, rng=Impatient()) as endpoint:
        (drawn,) = await endpoint.complete(asking(), range(1), seed=0)
    assert drawn.text == "x"
    assert len(fake.seen) == 3


async def test_a_refused_connection_names_the_address_and_the_setting() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        limits = Limits(retries=1)
        async with Endpoint(
            f"http://127.0.0.1:{port}", "m", limits=limits, rng=Impatient()
        ) as endpoint:
            with pytest.raises(Unreachable) as caught:
                await endpoint.complete(asking(), range(1), seed=0)
    assert str(caught.value) == (
        f"cannot reach http://127.0.0.1:{port}/v1/completions (connection refused); "
        f"start the server or set {BASE_URL}"
    )


async def test_a_server_that_says_nothing_is_given_up_at_the_deadline(fake: Fake, url: str) -> None:
    async def never(body: Body) -> Response:
        await fake.gone.wait()
        return Response()

    fake.answers["/v1/completions"] = never
    async with Endpoint(url, "m", limits=Limits(deadline=0.05)) as endpoint:
        with pytest.raises(Unreachable, match=r"deadline of 0\.05 s"):
            await endpoint.complete(asking(), range(1), seed=0)
    fake.gone.set()


async def test_a_unix_socket_is_a_server_like_any_other(
    fake: Fake, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    path = str(tmp_path / "s")
    async with serving(fake, path) as url, Endpoint(url, "m", tokenizer, uds=path) as endpoint:
        (drawn,) = await endpoint.complete(asking(), range(1), seed=0)
    assert drawn.text == "x"


async def test_the_key_comes_from_the_variable_that_is_named_and_from_no_other(
    fake: Fake, url: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_ADMIN_KEY", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "leak")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: leak")
    monkeypatch.setenv("MY_KEY", "secret")
    for variable in ("MY_KEY", None):
        async with Endpoint(url, "m", tokenizer, api_key_env=variable) as endpoint:
            await endpoint.complete(asking(), range(1), seed=0)
    assert [headers["authorization"] for headers in fake.headers] == [
        "Bearer secret",
        "Bearer none",
    ]
    assert "leak" not in str(fake.headers)


def test_a_missing_key_is_an_error_before_any_request() -> None:
    with pytest.raises(ConfigError, match="'COLLAB_NO_SUCH_KEY' is not set"):
        Endpoint("http://127.0.0.1:1", "m", api_key_env="COLLAB_NO_SUCH_KEY")


@pytest.mark.parametrize("url", ["localhost:8", "ftp://a", "http://u:p99@a/v1", "http://a?key=99"])
def test_an_address_that_is_none_is_refused_and_no_secret_in_it_told(url: str) -> None:
    with pytest.raises(ConfigError, match="not a plain http") as refused:
        Endpoint(url, "m")
    assert "99" not in str(refused.value)


async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    fake: Fake, url: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        assert len(await endpoint.complete(asking(), range(1), seed=0)) == 1


def events(body: Body, tokenizer: Tokenizer, texts: list[str], finish: str = "stop") -> list[Body]:
    parts: list[Body] = [
        {"choices": [{"text": text, "token_ids": tokenizer.encode(text)}]} for text in texts
    ]
    parts[0]["choices"][0]["prompt_token_ids"] = body["prompt"]
    parts[-1]["choices"][0] |= {"finish_reason": finish, "stop_reason": None}
    return [*parts, {"choices": [], "usage": {"prompt_tokens": len(body["prompt"])}}]


def stream(parts: list[Body], done: bool = True) -> Response:
    lines = [f"data: {json.dumps(part, ensure_ascii=False)}\n\n" for part in parts]
    return StreamingResponse(iter([": hello\n\n", *lines, "data: [DONE]\n\n" * done]))


async def test_a_streamed_draw_equals_a_plain_one_and_is_read_along(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    texts = ["So \u2028", "x = ", "3."]
    fake.answers["/v1/completions"] = lambda body: (
        stream(events(body, tokenizer, texts))
        if body.get("stream")
        else reply(body, ["".join(texts)], tokenizer)
    )
    heard: list[str] = []
    async with Endpoint(url, "m", tokenizer) as endpoint:
        (streamed,) = await endpoint.complete(asking(), range(1), seed=0, on_text=heard.append)
        (plain,) = await endpoint.complete(asking(), range(1), seed=0)
        with pytest.raises(ValueError, match="streams one draw, not 2"):
            await endpoint.complete(asking(), range(2), seed=0, on_text=heard.append)
    assert heard == texts
    for name in ("text", "ids", "finish", "stop_reason", "prompt_tokens", "completion_tokens"):
        assert getattr(streamed, name) == getattr(plain, name)


async def test_a_stream_that_breaks_is_tried_again_only_while_nothing_was_read(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    broken = [{"error": {"message": "engine died"}}]
    tries = iter([[], broken, None])

    def answer(body: Body) -> Response:
        parts = next(tries)
        if parts is None:
            return stream(events(body, tokenizer, ["a", "b"])[:1] + broken)
        return stream(parts, done=False)

    fake.answers["/v1/completions"] = answer
    heard: list[str] = []
    async with Endpoint(url, "m", tokenizer, rng=Impatient()) as endpoint:
        with pytest.raises(Unreachable, match="engine died"):
            await endpoint.complete(asking(), range(1), seed=0, on_text=heard.append)
    assert heard == ["a"]
    assert len(fake.seen) == 3


async def test_a_page_in_place_of_a_stream_is_no_reply(fake: Fake, url: str) -> None:
    fake.answers["/v1/completions"] = lambda body: Response("<html>hi</html>", 200, {}, "text/html")
    async with Endpoint(url, "m") as endpoint:
        with pytest.raises(BadReply, match="not an event stream"):
            await endpoint.complete(asking(), range(1), seed=0, on_text=print)


async def test_cancelling_a_streamed_draw_closes_the_connection(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    async def endless(body: Body) -> AsyncIterator[str]:
        try:
            yield f"data: {json.dumps(events(body, tokenizer, ['a', 'b'])[0])}\n\n"
            await asyncio.Event().wait()
        finally:
            fake.gone.set()

    fake.answers["/v1/completions"] = lambda body: StreamingResponse(endless(body))
    reading = asyncio.Event()
    async with Endpoint(url, "m", tokenizer) as endpoint:
        draw = asyncio.create_task(
            endpoint.complete(asking(), range(1), seed=0, on_text=lambda _: reading.set())
        )
        await reading.wait()
        draw.cancel()
        await fake.gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await draw


async def test_what_had_come_of_a_cancelled_draw_is_told_once_it_is_stopped(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    async def endless(body: Body) -> AsyncIterator[str]:
        try:
            for part in events(body, tokenizer, ["ab", "c", "d"])[:2]:
                yield f"data: {json.dumps(part)}\n\n"
            await asyncio.Event().wait()
        finally:
            fake.gone.set()

    fake.answers["/v1/completions"] = lambda body: StreamingResponse(endless(body))
    read, cut = asyncio.Event(), list[Generation]()
    async with Endpoint(url, "m", tokenizer) as endpoint:
        draw = asyncio.create_task(
            endpoint.complete(
                asking(),
                range(1),
                seed=0,
                on_text=lambda text: read.set() if text == "c" else None,
                on_cut=cut.append,
            )
        )
        await read.wait()
        assert cut == []
        draw.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draw
        await fake.gone.wait()
    (part,) = cut
    assert (part.text, part.ids, part.finish) == ("abc", tokenizer.encode("abc"), "cancelled")
    assert (part.prompt_tokens, part.completion_tokens) == (3, 3)


async def test_a_draw_that_broke_off_while_it_was_read_is_told_as_far_as_it_came(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    broken = {"error": {"message": "engine died"}}
    fake.answers["/v1/completions"] = lambda body: stream(
        [*events(body, tokenizer, ["a", "b"])[:1], broken]
    )
    cut: list[Generation] = []
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(Unreachable, match="engine died"):
            await endpoint.complete(
                asking(), range(1), seed=0, on_text=lambda _: None, on_cut=cut.append
            )
    assert [part.text for part in cut] == ["a"]


FRAME = Frame(Template("{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}"))


def offering(fake: Fake, *names: str) -> None:
    cards = [{"id": name, "max_model_len": 64} for name in names]
    fake.answers["/v1/models"] = lambda _: JSONResponse({"data": cards})


async def test_the_check_learns_the_context_length_of_the_served_model(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    offering(fake, "other", "m")
    fake.answers["/v1/completions"] = lambda body: reply(body, ["x"], tokenizer, "length")
    async with Endpoint(url, "m", tokenizer) as endpoint:
        profile = await check(endpoint, IdsDialect(FRAME, tokenizer), tokenizer)
        assert endpoint.profile == profile
    assert (profile.max_model_len, profile.checked, profile.dialect) == (64, "real", "ids")
    assert [body.get("max_tokens") for body in fake.seen] == [None, 1]


async def test_the_check_lists_what_is_served_where_the_model_is_not(fake: Fake, url: str) -> None:
    offering(fake, "b", "a")
    async with Endpoint(url, "m") as endpoint:
        with pytest.raises(ConfigError, match=r"does not serve 'm' \(it serves: 'a', 'b'\)"):
            await check(endpoint, TextDialect(FRAME), None)


async def test_the_check_catches_a_second_start_token_in_a_text_prompt(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    offering(fake, "m")
    choice = {"text": "x", "finish_reason": "length"}
    extra = iter([0, 1])
    fake.answers["/v1/completions"] = lambda body: JSONResponse(
        {
            "choices": [choice],
            "usage": {"prompt_tokens": len(tokenizer.encode(body["prompt"])) + next(extra)},
        }
    )
    async with Endpoint(url, "m", tokenizer) as endpoint:
        profile = await check(endpoint, TextDialect(FRAME), tokenizer)
        assert (profile.dialect, profile.returns_ids) == ("text", False)
        with pytest.raises(BadReply, match="it may add a start token"):
            await check(endpoint, TextDialect(FRAME), tokenizer)


async def test_a_server_that_takes_few_stop_strings_is_sent_the_first_and_the_last(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    def few(body: Body) -> Response:
        if len(body["stop"]) > 4:
            return JSONResponse({"error": {"message": "at most 4 items"}}, 400)
        return reply(body, ["x"], tokenizer, "length")

    offering(fake, "m")
    fake.answers["/v1/completions"] = few
    async with Endpoint(url, "m", tokenizer) as endpoint:
        assert (await check(endpoint, IdsDialect(FRAME, tokenizer), tokenizer)).max_stops == 4
        for stop in ("a", "b", "c", "d"), ("a", "b", "c", "d", "e"):
            await endpoint.complete(asking(stop=stop), range(1), seed=0)
    assert [body["stop"] for body in fake.seen[-2:]] == [["a", "b", "c", "d"], ["a", "b", "c", "e"]]


async def test_a_refusal_of_another_kind_at_the_check_is_told(
    fake: Fake, url: str, tokenizer: Tokenizer
) -> None:
    offering(fake, "m")
    answer = {"error": {"message": "no quota"}}
    fake.answers["/v1/completions"] = lambda _: JSONResponse(answer, 402)
    async with Endpoint(url, "m", tokenizer) as endpoint:
        with pytest.raises(Rejected, match="no quota"):
            await check(endpoint, IdsDialect(FRAME, tokenizer), tokenizer)


async def test_the_check_of_a_page_is_one_clear_error(fake: Fake, url: str) -> None:
    fake.answers["/v1/models"] = lambda _: Response("<html>router</html>", 200, {}, "text/html")
    async with Endpoint(url, "m") as endpoint:
        with pytest.raises(
            BadReply, match=r"v1/models sent a reply that is not JSON of the API.*router"
        ):
            await check(endpoint, TextDialect(FRAME), None)
    assert len(fake.seen) == 1
