"""Any JSON and any bytes get an answer of the API, and the server continues to work."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.conftest import CHAT, HEAD, Reply, error, request, sent

HERE = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 10**9, 10**12, 10**40, 2**31, 2**63, 1e308, 1e-320, 1e999])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "\ud800", "\0", "x" * 5000, "<think>", "</think>"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text()},
    optional={"reasoning_content": st.text(), "prefix": st.booleans()},
)
CHATS = {
    "messages": st.lists(MESSAGE, min_size=1, max_size=3),
    "add_generation_prompt": st.booleans(),
    "continue_final_message": st.booleans(),
}
TEXTS = {"prompt": st.text(max_size=9) | st.lists(st.integers(0, 500), max_size=5)}
DRAWS = {
    "n": st.integers(1, 3),
    "temperature": st.floats(0, 3),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(-1, 500),
    "min_p": st.floats(0, 1),
    "seed": st.integers(0, 9),
    "stop": st.lists(st.text(min_size=1, max_size=3), max_size=3),
    "stop_token_ids": st.lists(st.integers(0, 500), max_size=3),
    "min_tokens": st.integers(0, 3),
    "prompt_logprobs": st.integers(0, 3),
    "stream": st.booleans(),
    "stream_options": st.just({"include_usage": True}),
    "ignore_eos": st.booleans(),
    "max_tokens": st.integers(1, 3),
}
PATHS: dict[str, dict[str, st.SearchStrategy[Any]]] = {  # any: JSON
    "v1/chat/completions": {
        **CHATS,
        **DRAWS,
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 3),
    },
    "v1/completions": {**TEXTS, **DRAWS, "logprobs": st.integers(0, 3), "echo": st.booleans()},
    "tokenize": CHATS | TEXTS,
    "detokenize": {"tokens": st.lists(st.integers(0, 500), max_size=5)},
}
ASKED = ("messages", "prompt", "tokens", "max_tokens")
ODD = (
    *ASKED,
    *DRAWS,
    "model",
    "logprobs",
    "echo",
    "tools",
    "response_format",
    "user",
    "temprature",
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, object]:
    """Draw a path and a body for it, with at most one invalid field."""
    path = draw(st.sampled_from(sorted(PATHS)))
    fields = PATHS[path]
    needed = {name: kind for name, kind in fields.items() if name in ASKED}
    chosen = draw(st.sets(st.sampled_from(sorted(fields.keys())), max_size=3))
    body = {name: draw(fields[name]) for name in {*needed, *chosen}}
    if path == "tokenize":
        del body[draw(st.sampled_from(["messages", "prompt"]))]
    name = draw(st.sampled_from(ODD) | st.none())
    odd = draw(JUNK)
    if name is not None and (name, odd) != ("max_tokens", None):  # it would write on and on
        body[name] = odd
    return path, draw(st.sampled_from([body] * 9 + [odd]))


ALIVE = request(CHAT.replace(b"max_tokens", b"max_completion_tokens"))


def is_an_answer(reply: Reply) -> bool:
    """Check that a reply is valid: the requested object, or an error with a message."""
    if 400 <= reply.status < 500:
        return bool(error(reply))
    if reply.headers["content-type"].startswith("text/event-stream"):
        return reply.body.endswith(b"data: [DONE]\n\n")
    return reply.status == 200 and isinstance(json.loads(reply.body), dict)


@given(asked=bodies())
@HERE
def test_any_json_is_answered(url: str, asked: tuple[str, object]) -> None:
    path, body = asked
    head = HEAD.replace(b"v1/chat/completions", path.encode())
    assert is_an_answer(sent(url, request(json.dumps(body).encode(), head=head)))
    assert sent(url, ALIVE).status == 200


@given(body=st.binary(max_size=60), path=st.sampled_from(sorted(PATHS)))
@HERE
def test_any_body_is_answered(url: str, body: bytes, path: str) -> None:
    head = HEAD.replace(b"v1/chat/completions", path.encode())
    assert is_an_answer(sent(url, request(body, head=head)))


@given(at=st.integers(0, len(ALIVE)), cut=st.integers(0, 9), put=st.binary(max_size=9))
@HERE
def test_any_bytes_are_answered(url: str, at: int, cut: int, put: bytes) -> None:
    sends = ALIVE[:at] + put + ALIVE[at + cut :]
    reply = sent(url, sends, end=True)
    assert reply.status < 500
    assert reply.body
