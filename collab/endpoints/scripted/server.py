"""The server: it records every request, fails some, and lets a backend answer the others."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Self, get_args

from pydantic_core import from_json
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from collab.endpoints.scripted import faults
from collab.endpoints.scripted.apis import VENDORS, Api, Draws, ScriptedRequest, Vendor, vendor_of
from collab.endpoints.scripted.faults import Failure
from collab.endpoints.scripted.mind import TEMPLATE, Script, ScriptedModel, WordTokenizer
from collab.endpoints.scripted.traits import (
    ABSENT,
    ScriptedBody,
    Trait,
    TraitBackend,
    as_read,
    recounted,
    refusal,
    relabelled,
    untold,
)
from collab.errors import ConfigError
from collab.serving import Backend, Card, WireError, build_app, serve
from collab.serving.body import read_body, replay

WIRE = frozenset({"/v1/completions", "/v1/chat/completions"})
MODELS = "/v1/models"
BETA = "/beta/"
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One received request."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: ScriptedBody


class ScriptedServer:
    """A server on a loopback port for as long as its context lasts."""

    url: str
    """Its base URL, without /v1."""

    def __init__(
        self,
        script: Script | Backend = "",
        *,
        api: Api = "vllm",
        traits: Iterable[Trait] = (),
        failures: Iterable[Failure | None] = (),
        latency: float = 0.0,
        retry_after: float = 0.0,
        context: int = 4096,
        models: Sequence[str] = ("scripted",),
        template: str = TEMPLATE,
        tokenizer: WordTokenizer | None = None,
        key: str | None = None,
        names: frozenset[str] = frozenset(),
        keep: int | None = None,
    ) -> None:
        """Describe the server.

        Args:
            script: The answers of the model: a text ends the sequence, unless it is cut before. Or
                a backend that computes answers, such as the pocket reasoners.
            api: The API that the server speaks.
            traits: How the server always differs from vLLM.
            failures: The failures of the generating requests, one each (None: an answer); later
                requests succeed. It is read as requests arrive, so it may be endless.
            latency: Seconds before an answer begins; a slow one takes further time.
            retry_after: Seconds that a 429 asks to wait.
            context: The limit on prompt and completion together (tokens).
            models: The names of the served models.
            template: The chat template.
            tokenizer: Several servers with the same one agree on ids.
            key: The bearer key that clients must send.
            names: Names of the server, in addition to `localhost` and IP addresses.
            keep: The number of requests to remember; None: all.

        Raises:
            ConfigError: An API, trait or failure is unknown.
        """
        self.requests: list[Received] = []
        """Every request, in order of arrival."""
        self.aborted = 0
        self._versions = count(1)
        """How often a client went away before its answer (counted by prompts)."""
        self._api, self._traits, self._failures = api, frozenset(traits), iter(failures)
        _check("API", {api}, get_args(Api))
        _check("trait", self._traits, get_args(Trait))
        self._retry_after, self._latency, self._keep = retry_after, latency, keep
        self._changed = threading.Condition()
        self._stack = ExitStack()
        if not isinstance(script, Backend):
            cards = dict.fromkeys(models, Card(context, WordTokenizer.size))
            script = ScriptedModel(script, cards, template, tokenizer or WordTokenizer(), latency)
        self._model = TraitBackend(script, self._traits)
        self._model.on_abort = self._note_abort
        self._app = build_app(self._model, key=key, names=names)
        self._generating = WIRE.union(*(vendor.routes for vendor in VENDORS[api]))

    async def __aenter__(self) -> Self:
        self.url = self._stack.enter_context(serve(self))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self._stack.close)

    @property
    def generating(self) -> list[Received]:
        """The requests that asked for text."""
        return [request for request in self.requests if request.path in self._generating]

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
        raw, path = await read_body(receive) or b"", scope["path"]
        body = _parsed(raw)
        self._note_request(scope, body)
        failure = next(self._failures, None) if path in self._generating else None
        if failure in faults.BROKEN:
            await faults.break_off(failure, receive, send, stream=bool(body.get("stream")))
            self._note_abort()
        elif failure is not None and failure not in faults.ANSWERED:
            await faults.no_answer(failure, scope, self._retry_after)(scope, receive, send)
        elif any(path in routes for trait, routes in ABSENT.items() if trait in self._traits):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
        elif (why := refusal(body, self._traits)) is not None:
            await JSONResponse({"detail": why}, 422)(scope, receive, send)
        else:
            await self._answer(scope, body, raw, receive, send, failure)

    async def _answer(
        self,
        scope: Scope,
        body: ScriptedBody,
        raw: bytes,
        receive: Receive,
        send: Send,
        failure: Failure | None,
    ) -> None:
        if failure == "slow":
            await asyncio.sleep(self._latency)
        vendor = vendor_of(self._api, scope["path"])
        if vendor is not None:
            await self._translate(vendor, scope, body, receive, send, failure)
            return
        seen = as_read(body, self._traits)
        again = replay(raw if seen == body else json.dumps(seen).encode(), receive)
        there = {**scope, "path": scope["path"].replace(BETA, "/v1/", 1)}
        hidden = "context_hidden" in self._traits and there["path"] == MODELS
        if body.get("stream") or not (hidden or there["path"] in WIRE):
            await self._app(there, again, send)
            return
        reply = _Reply()
        await self._app(there, again, reply)
        if hidden:
            await reply.send(send, untold)
            return
        await reply.send(
            send, lambda told: self._with_failure(relabelled(told, body, self._traits), failure)
        )

    async def _translate(
        self,
        vendor: Vendor,
        scope: Scope,
        body: ScriptedBody,
        receive: Receive,
        send: Send,
        failure: Failure | None,
    ) -> None:
        """Let the wire complete one raw prompt, and tell it as the vendor does."""
        try:
            heard = vendor.hear(body)
            name = self._name(body)
            prompt = heard.prompt or heard.laid(
                lambda turns: self._render(name, turns), self._traits
            )
        except WireError as error:
            said = faults.error(error.message)
            await JSONResponse(said, error.status)(scope, receive, send)
            return
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            said = faults.error(f"no request of this API ({type(error).__name__}: {error})")
            await JSONResponse(said, 400)(scope, receive, send)
            return
        asked = as_read({**heard.settings}, self._traits)
        asked |= {"prompt": prompt, "model": name, "return_token_ids": True}
        asked |= {"add_special_tokens": False, "skip_special_tokens": True}
        there = {**scope, "path": "/v1/completions"}
        reply = _Reply()
        await self._app(there, replay(json.dumps(asked).encode(), receive), reply)
        await reply.send(
            send, lambda draws: self._render_reply(vendor, heard, body, draws, failure)
        )

    def _render_reply(
        self,
        vendor: Vendor,
        heard: ScriptedRequest,
        sent: ScriptedBody,
        drawn: ScriptedBody,
        failure: Failure | None,
    ) -> object:
        draws = Draws(drawn["model"], drawn["choices"], drawn["usage"], self._count, self._traits)
        reply = vendor.render(heard, draws)
        if not isinstance(reply, dict):
            return reply
        return self._with_failure(reply, failure)

    def _with_failure(self, reply: ScriptedBody, failure: Failure | None) -> ScriptedBody:
        other = {"model": faults.OTHER_MODEL} if failure == "wrong_model" else {}
        if "drifting" in self._traits:
            other["system_fingerprint"] = f"fp_{next(self._versions)}"
        return recounted(reply, self._traits) | other

    def _name(self, body: ScriptedBody) -> str:
        return str(body.get("model") or next(iter(self._model.cards)))

    def _render(self, name: str, turns: Sequence[ScriptedBody]) -> str:
        return self._model.render(name, turns, generate=True, continue_final=False)

    def _count(self, text: str) -> int:
        name = next(iter(self._model.cards))
        return len(self._model.inner.encode(name, text, special=False))

    def _note_request(self, scope: Scope, body: ScriptedBody) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        with self._changed:
            self.requests.append(Received(scope["path"], headers, body))
            if self._keep is not None:
                del self.requests[: len(self.requests) - self._keep]
            self._changed.notify_all()

    def _note_abort(self) -> None:
        with self._changed:
            self.aborted += 1
            self._changed.notify_all()


class _Reply:
    """Takes a whole reply in, so that it can be edited before it goes out."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        """Keep a part."""
        self._messages.append(message)

    async def send(self, send: Send, edit: Callable[[ScriptedBody], object]) -> None:
        """Pass an event on; only successful replies are edited."""
        if not self._messages:  # the client went away
            return
        start = self._messages[0]
        content = b"".join(message.get("body", b"") for message in self._messages[1:])
        if start["status"] == 200:
            content = json.dumps(edit(json.loads(content))).encode()
        headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _check(kind: str, given: Iterable[str], known: Sequence[str]) -> None:
    if unknown := set(given) - set(known):
        raise ConfigError(
            f"unknown {kind} {min(unknown)!r} (there are: {', '.join(sorted(known))})"
        )


def _parsed(raw: bytes) -> ScriptedBody:
    try:
        body = from_json(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
