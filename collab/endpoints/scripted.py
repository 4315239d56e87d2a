"""A fake endpoint: a real server whose answers are a script, and that can imitate every trap.

async with ScriptedServer({"2+2": "It is 4.</think>4"}, traits=["stop_trimmed"]) as server:
    ...  # any client, at server.url
assert server.requests[0].body["stop"] == ["."]
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from collab.endpoints.scripted_model import (
    TEMPLATE,
    Script,
    ScriptedModel,
    Words,
    prefix_to_echo,
    recite,
)
from collab.wire import Card, build_app, serve

__all__ = ["Failure", "Received", "Script", "ScriptedServer", "Trait", "Words", "recite"]

Failure = Literal["rate_limit", "server_error", "html", "not_json", "drop", "truncate", "hang"]
"""What becomes of one request: 429, 500, a page, no JSON, no reply, half a reply, or silence."""
Trait = Literal[
    "bos",
    "continue_ignored",
    "double_bos",
    "empty_think",
    "ids_refused",
    "n_ignored",
    "no_chat",
    "no_completions",
    "no_token_ids",
    "no_tokenize",
    "no_usage",
    "prefix_echoed",
    "seed_ignored",
    "stop_ignored",
    "stop_trimmed",
    "thinking_dropped",
]
"""What a server does otherwise than vLLM, all the time.

`bos`: a text gets a BOS unless the request says `add_special_tokens: false`; `double_bos`: always,
though the template has one. `continue_ignored`: a partial turn is closed and a new one opened.
`empty_think`: an assistant's turn is rendered behind an empty think block. `ids_refused`: a prompt
is text or nothing. `prefix_echoed`: a continued chat message is repeated in the reply.
`thinking_dropped`: the template leaves an assistant's thinking out.
"""

LEFT_OUT: Mapping[Trait, frozenset[str]] = {
    "continue_ignored": frozenset({"continue_final_message", "add_generation_prompt"}),
    "n_ignored": frozenset({"n"}),
    "no_token_ids": frozenset({"return_token_ids"}),
    "seed_ignored": frozenset({"seed"}),
    "stop_ignored": frozenset({"stop"}),
    "stop_trimmed": frozenset({"include_stop_str_in_output"}),
}
"""The fields of a request that such a server does not look at."""
ABSENT: Mapping[Trait, frozenset[str]] = {
    "no_chat": frozenset({"/v1/chat/completions"}),
    "no_completions": frozenset({"/v1/completions"}),
    "no_tokenize": frozenset({"/tokenize", "/detokenize"}),
}
"""The routes that such a server does not have."""
GENERATING = frozenset({"/v1/completions", "/v1/chat/completions"})
PATIENCE = 30.0
HALF = b'{"id": "cmpl-0", "choices": [{"index": 0, "te'

Body: TypeAlias = dict[str, Any]
"""A JSON object (`Any`: a client may send what it likes)."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Body


class ScriptedServer:
    """A server on a loopback port for as long as its context lasts."""

    url: str
    """Its base URL, without /v1."""

    def __init__(
        self,
        script: Script = "",
        *,
        traits: Iterable[Trait] = (),
        failures: Iterable[Failure | None] = (),
        latency: float = 0.0,
        retry_after: float = 0.0,
        context: int = 4096,
        models: Sequence[str] = ("scripted",),
        template: str = TEMPLATE,
        tokenizer: Words | None = None,
        key: str | None = None,
    ) -> None:
        """Set the scene.

        Args:
            script: What the model answers. A text ends the sequence, unless it is cut before.
            traits: What the server always does otherwise.
            failures: What becomes of the first generating requests, one each (None: an answer);
                then all is well.
            latency: Seconds before an answer begins.
            retry_after: Seconds that a 429 asks to wait.
            context: The most tokens of a prompt and its completion together.
            models: The names served.
            template: The chat template.
            tokenizer: Given to several servers, it makes them agree on ids.
            key: The bearer key that clients must send.
        """
        self.requests: list[Received] = []
        """Every request, in order of arrival."""
        self.aborted = 0
        """How often a client went away before its answer (counted by prompts)."""
        self._traits, self._failures = frozenset(traits), iter(tuple(failures))
        self._retry_after = retry_after
        self._changed = threading.Condition()
        self._stack = ExitStack()
        cards = dict.fromkeys(models, Card(context, Words.size))
        model = ScriptedModel(script, cards, template, tokenizer or Words(), self._traits, latency)
        model.on_abort = self._note_abort
        self._app = build_app(model, key=key)

    async def __aenter__(self) -> Self:
        self.url = self._stack.enter_context(serve(self))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self._stack.close)

    @property
    def generating(self) -> list[Received]:
        """The requests that asked for text."""
        return [request for request in self.requests if request.path in GENERATING]

    async def until(self, happened: Callable[[Self], bool]) -> None:
        """Wait for something to be true of this server, such as how many requests it has seen.

        Raises:
            TimeoutError: It did not happen within `PATIENCE` seconds.
        """

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: happened(self), PATIENCE)

        if not await asyncio.to_thread(wait):
            raise TimeoutError(f"it did not happen within {PATIENCE:g} s")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request: record it, then fail it or let the app answer."""
        raw, path = await _read(receive), scope["path"]
        body = _parsed(raw)
        self._note_request(scope, body)
        failure = next(self._failures, None) if path in GENERATING else None
        if failure is not None:
            await self._fail(failure, scope, receive, send)
        elif any(path in routes for trait, routes in ABSENT.items() if trait in self._traits):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
        elif "ids_refused" in self._traits and not isinstance(body.get("prompt", ""), str):
            await JSONResponse({"detail": "prompt: must be a string"}, 422)(scope, receive, send)
        else:
            if "prefix_echoed" in self._traits and body.get("continue_final_message"):
                prefix_to_echo.set(body["messages"][-1]["content"])
            receive = _replay(self._as_read(body, raw), receive)
            await self._app(scope, receive, _no_usage(send) if self._silent else send)

    def _note_request(self, scope: Scope, body: Body) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        with self._changed:
            self.requests.append(Received(scope["path"], headers, body))
            self._changed.notify_all()

    def _note_abort(self) -> None:
        with self._changed:
            self.aborted += 1
            self._changed.notify_all()

    @property
    def _silent(self) -> bool:
        return "no_usage" in self._traits

    def _as_read(self, body: Body, raw: bytes) -> bytes:
        """Leave out what this server does not look at."""
        unread = {name for trait in self._traits for name in LEFT_OUT.get(trait, ())}
        if not unread & body.keys():
            return raw
        return json.dumps({k: v for k, v in body.items() if k not in unread}).encode()

    async def _fail(self, failure: Failure, scope: Scope, receive: Receive, send: Send) -> None:
        if failure not in ("hang", "drop", "truncate"):
            await self._error(failure)(scope, receive, send)
            return
        if failure == "truncate":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": HALF, "more_body": True})
        if failure != "hang":
            _hang_up(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        self._note_abort()

    def _error(self, failure: Failure) -> Response:
        match failure:
            case "rate_limit":
                headers = {"retry-after": f"{self._retry_after:g}"}
                return JSONResponse({"error": {"message": "slow down"}}, 429, headers)
            case "html":
                return HTMLResponse("<html><body>Welcome to the proxy</body></html>")
            case "not_json":
                return PlainTextResponse("{", media_type="application/json")
            case _:
                return JSONResponse({"error": {"message": "out of order"}}, 500)


def _parsed(raw: bytes) -> Body:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the app a body that was read already, then what comes after it."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return again


def _no_usage(send: Send) -> Send:
    """Take the usage out of whole replies."""
    held: list[Message] = []

    async def edited(message: Message) -> None:
        if message["type"] == "http.response.start":
            held.append(message)
            return
        body = _parsed(message["body"])
        if held and body.pop("usage", None) is not None:
            message["body"] = json.dumps(body).encode()
            headers = held[0]["headers"]
            held[0]["headers"] = [pair for pair in headers if pair[0] != b"content-length"]
        for start in held:
            await send(start)
        held.clear()
        await send(message)

    return edited


def _hang_up(send: Send) -> None:
    """Cut the connection as a server that dies does."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's own cycle
    transport.abort()
