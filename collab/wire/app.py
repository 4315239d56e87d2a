"""The routes: from a request to a job, from pieces to a reply."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from collab.release import installed
from collab.wire.backend import Backend, Job, Piece, TokenIds, WireError
from collab.wire.replies import Body, Style, Usage
from collab.wire.schema import (
    ChatPrompt,
    ChatRequest,
    CompletionRequest,
    Detokenize,
    ModelRequest,
    TokenizeChat,
    TokenizeText,
    parse,
)

Emit: TypeAlias = Callable[[int, Piece], Awaitable[None]]

KINDS = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError"}


def build_app(backend: Backend, *, key: str | None = None) -> Starlette:
    """Serve a backend; with a `key`, only to clients that send it (all routes but /health)."""
    api = _Api(backend)
    routes = [
        Route("/v1/completions", api.completions, methods=["POST"]),
        Route("/v1/chat/completions", api.chat, methods=["POST"]),
        Route("/v1/models", api.models),
        Route("/tokenize", api.tokenize, methods=["POST"]),
        Route("/detokenize", api.detokenize, methods=["POST"]),
        Route("/health", _health),
        Route("/version", _version),
    ]
    app = answer_with(routes)
    if key is not None:
        app.add_middleware(_Guard, key=key)
    return app


def answer_with(routes: Sequence[Route]) -> Starlette:
    """Return an app whose errors have OpenAI's shape."""
    return Starlette(routes=routes, exception_handlers={WireError: _refused, Exception: _failed})


def error_body(message: str, status: int, param: str | None = None) -> Body:
    """Say what went wrong in OpenAI's shape."""
    kind = KINDS.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class _Api:
    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def completions(self, request: Request) -> _Answer:
        asked = parse(CompletionRequest, await read_json(request))
        model = self._model(asked)
        prompts = [self._encoded(model, p, asked.add_special_tokens) for p in asked.prompts]
        card, nothing = self.backend.cards[model], asked.max_tokens == 0
        jobs = [
            asked.job(model, card, prompt, asked.max_tokens or 1, asked.logprobs, asked.scored)
            for prompt in prompts
        ]
        style = Style(
            model,
            chat=False,
            token_ids=asked.return_token_ids,
            logprobs=asked.logprobs is not None,
            scored=asked.prompt_logprobs is not None,
            echo=asked.echo,
            nothing=nothing,
            fingerprint=card.fingerprint,
        )
        return _Answer(self.backend, jobs, style, asked.stream, asked.include_usage)

    async def chat(self, request: Request) -> _Answer:
        asked = parse(ChatRequest, await read_json(request))
        model = self._model(asked)
        top = asked.top_logprobs if asked.logprobs else None
        longest = asked.max_completion_tokens or asked.max_tokens
        card = self.backend.cards[model]
        jobs = [asked.job(model, card, self._rendered(model, asked), longest, top)]
        style = Style(
            model,
            chat=True,
            token_ids=asked.return_token_ids,
            logprobs=top is not None,
            fingerprint=card.fingerprint,
        )
        return _Answer(self.backend, jobs, style, asked.stream, asked.include_usage)

    async def models(self, request: Request) -> Response:
        entries = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "collab",
                "root": name,
                "parent": None,
                "max_model_len": card.context,
            }
            for name, card in self.backend.cards.items()
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def tokenize(self, request: Request) -> Response:
        body = await read_json(request)
        chat = isinstance(body, dict) and "messages" in body
        asked = parse(TokenizeChat, body) if chat else parse(TokenizeText, body)
        model = self._model(asked)
        if isinstance(asked, TokenizeChat):
            ids = self._rendered(model, asked)
        else:
            ids = self._encoded(model, asked.prompt, asked.add_special_tokens)
        strings = [self.backend.decode(model, [i]) for i in ids]
        return JSONResponse(
            {
                "count": len(ids),
                "max_model_len": self.backend.cards[model].context,
                "tokens": ids,
                "token_strs": strings if asked.return_token_strs else None,
            }
        )

    async def detokenize(self, request: Request) -> Response:
        asked = parse(Detokenize, await read_json(request))
        return JSONResponse({"prompt": self.backend.decode(self._model(asked), asked.tokens)})

    def _model(self, asked: ModelRequest) -> str:
        """The model asked for, or the first one where the request names none."""
        cards = self.backend.cards
        name = next(iter(cards)) if asked.model is None else asked.model
        if name not in cards:
            known = ", ".join(map(repr, cards))
            message = f"The model {name!r} does not exist (served here: {known})."
            raise WireError(message, param="model", status=404)
        return name

    def _encoded(self, model: str, prompt: str | list[int], special: bool) -> TokenIds:
        if isinstance(prompt, str):
            return tuple(self.backend.encode(model, prompt, special=special))
        unknown = [token for token in prompt if token >= self.backend.cards[model].vocabulary]
        if unknown:
            raise WireError(f"Token id {unknown[0]} is out of vocabulary", param="prompt")
        return tuple(prompt)

    def _rendered(self, model: str, asked: ChatPrompt) -> TokenIds:
        flags = {"generate": asked.add_generation_prompt, "go_on": asked.continue_final_message}
        text = self.backend.render(model, asked.chat, **flags)
        return self._encoded(model, text, asked.add_special_tokens)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The response to jobs; as an ASGI app, so that it can watch its client while it works."""

    backend: Backend
    jobs: Sequence[Job]
    style: Style
    stream: bool
    include_usage: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._stream(send) if self.stream else self._collect())
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and (response := work.result()) is not None:
                await response(scope, receive, send)
        finally:
            await _cancel(work, gone)

    async def _collect(self) -> Response:
        choices: list[list[Piece]] = [[] for job in self.jobs for _ in range(job.n)]
        usage = self._usage()

        async def keep(choice: int, piece: Piece) -> None:
            choices[choice].append(piece)
            usage.add(piece)

        await self._work(keep)
        prompts = [job.prompt for job in self.jobs for _ in range(job.n)]
        texts = [self._texts(prompt) for prompt in prompts] if self.style.echo else []
        return JSONResponse(self.style.whole(choices, prompts, texts) | {"usage": usage.body()})

    def _texts(self, prompt: TokenIds) -> list[str]:
        return [self.backend.decode(self.style.model, [token]) for token in prompt]

    async def _stream(self, send: Send) -> None:
        usage, started = self._usage(), set[int]()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def say(body: Body) -> None:
            event = b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})

        async def pass_on(choice: int, piece: Piece) -> None:
            usage.add(piece)
            prompt = None if choice in started else self.jobs[choice // self.jobs[0].n].prompt
            started.add(choice)
            await say(self.style.chunk(choice, piece, prompt))

        try:
            await self._work(pass_on)
            if self.include_usage:
                await say(self.style.last(usage))
        except WireError as error:
            await say(error_body(error.message, error.status, error.param))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    def _usage(self) -> Usage:
        return Usage(prompt=sum(len(job.prompt) for job in self.jobs))

    async def _work(self, emit: Emit) -> None:
        async def follow(first: int, job: Job) -> None:
            async with aclosing(self.backend.complete(job)) as pieces:
                async for piece in pieces:
                    await emit(first + piece.choice, piece)

        tasks = [asyncio.ensure_future(follow(i * job.n, job)) for i, job in enumerate(self.jobs)]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _cancel(*tasks)


class _Guard:
    """Answer only who sends the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                body = error_body("the API key is missing or wrong", 401)
                await JSONResponse(body, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def read_json(request: Request) -> object:
    """Return a request's body.

    Raises:
        WireError: It is no JSON.
    """
    try:
        body: object = await request.json()
    except ValueError as error:
        raise WireError(f"the body is no JSON: {error}") from error
    return body


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Future[Response | None] | asyncio.Future[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _health(request: Request) -> Response:
    return Response()


async def _version(request: Request) -> Response:
    number = installed() or "0"  # none where it is run from its source tree
    return JSONResponse({"version": number, "server": "collab"})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return JSONResponse(error_body(error.message, error.status, error.param), error.status)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse(error_body(f"{type(error).__name__}: {error}", 500), 500)
