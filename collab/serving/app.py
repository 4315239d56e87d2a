"""The routes of the API: turn a request into jobs, and their pieces into a reply."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from collab.core.release import installed
from collab.serving.backend import Backend, Job, Piece, TokenIds, WireError
from collab.serving.body import (
    JsonObject,
    error_body,
    on_failure,
    on_http_error,
    on_wire_error,
    read_json,
    shortened,
)
from collab.serving.bounds import check_answer, check_text
from collab.serving.guard import Guard
from collab.serving.replies import ReplyStyle, RequestUsage
from collab.serving.schema import (
    ChatPrompt,
    ChatRequest,
    CompletionRequest,
    Detokenize,
    ModelRequest,
    SamplingRequest,
    TokenizeChat,
    TokenizeText,
    parse,
)

Emit: TypeAlias = Callable[[int, Piece], Awaitable[None]]

log = logging.getLogger(__name__)


def build_app(
    backend: Backend, *, key: str | None = None, names: frozenset[str] = frozenset()
) -> Starlette:
    """Build the web app that serves a backend.

    Args:
        backend: The models.
        key: The API key that clients must send (to all routes but /health).
        names: Host names of the server, besides `localhost` and IP addresses.
    """
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
    return guarded(routes, key, names)


def guarded(routes: Sequence[Route], key: str | None, names: frozenset[str]) -> Starlette:
    """Return an app with a guard before its routes, and errors in OpenAI's format."""
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, key=key, names=names)],
        exception_handlers={
            WireError: on_wire_error,
            HTTPException: on_http_error,
            Exception: on_failure,
        },
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def completions(self, request: Request) -> CancellableResponse:
        asked = parse(CompletionRequest, await read_json(request))
        model = self._model(asked)
        card = self.backend.cards[model]
        jobs = [
            asked.job(
                model,
                card,
                self._encoded(model, prompt, asked.add_special_tokens),
                asked.max_tokens or 1,
                asked.logprobs,
                asked.scored,
            )
            for prompt in asked.prompts
        ]
        style = ReplyStyle(
            model,
            chat=False,
            token_ids=asked.return_token_ids,
            logprobs=asked.logprobs is not None,
            scored=asked.prompt_logprobs is not None,
            echo=asked.echo,
            only_prompt=asked.max_tokens == 0,
            fingerprint=card.fingerprint,
        )
        return self._answer(jobs, style, asked)

    async def chat(self, request: Request) -> CancellableResponse:
        asked = parse(ChatRequest, await read_json(request))
        model = self._model(asked)
        top = asked.top_logprobs if asked.logprobs else None
        longest = asked.max_completion_tokens or asked.max_tokens
        card = self.backend.cards[model]
        jobs = [asked.job(model, card, self._rendered(model, asked), longest, top)]
        style = ReplyStyle(
            model,
            chat=True,
            token_ids=asked.return_token_ids,
            logprobs=top is not None,
            fingerprint=card.fingerprint,
        )
        return self._answer(jobs, style, asked)

    def _answer(
        self, jobs: Sequence[Job], style: ReplyStyle, asked: SamplingRequest
    ) -> CancellableResponse:
        check_answer(jobs)
        answer = _Answer(self.backend, jobs, style, asked.include_usage)
        return CancellableResponse(answer.stream if asked.stream else answer.collect)

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
        chat = "messages" in body
        asked = parse(TokenizeChat, body) if chat else parse(TokenizeText, body)
        model = self._model(asked)
        if isinstance(asked, TokenizeChat):
            ids = self._rendered(model, asked)
        else:
            ids = self._encoded(model, asked.prompt, asked.add_special_tokens)
        strings = asked.return_token_strs
        return JSONResponse(
            {
                "count": len(ids),
                "max_model_len": self.backend.cards[model].context,
                "tokens": ids,
                "token_strs": [self.backend.decode(model, [i]) for i in ids] if strings else None,
            }
        )

    async def detokenize(self, request: Request) -> Response:
        asked = parse(Detokenize, await read_json(request))
        model = self._model(asked)
        self._check_known(model, asked.tokens, "tokens")
        return JSONResponse({"prompt": self.backend.decode(model, asked.tokens)})

    def _model(self, asked: ModelRequest) -> str:
        """Return the requested model, or the first one if the request names no model."""
        cards = self.backend.cards
        name = next(iter(cards)) if asked.model is None else asked.model
        if name not in cards:
            known = ", ".join(map(repr, cards))
            message = f"The model {shortened(name)!r} does not exist (served here: {known})."
            raise WireError(message, param="model", status=404)
        return name

    def _encoded(
        self, model: str, prompt: str | list[int], special: bool, param: str = "prompt"
    ) -> TokenIds:
        if isinstance(prompt, str):
            check_text(prompt, self.backend.cards[model], param)
            return tuple(self.backend.encode(model, prompt, special=special))
        self._check_known(model, prompt, param)
        return tuple(prompt)

    def _check_known(self, model: str, tokens: Sequence[int], param: str) -> None:
        if max(tokens, default=0) >= self.backend.cards[model].vocabulary:
            raise WireError(f"Token id {max(tokens)} is out of vocabulary", param=param)

    def _rendered(self, model: str, asked: ChatPrompt) -> TokenIds:
        text = self.backend.render(
            model,
            asked.chat,
            generate=asked.add_generation_prompt,
            continue_final=asked.continue_final_message,
        )
        return self._encoded(model, text, asked.add_special_tokens, "messages")


@dataclass(frozen=True, slots=True)
class CancellableResponse:
    """A response whose work stops when its client disconnects."""

    work: Callable[[Send], Coroutine[None, None, Response | None]]
    """Sends the response, or returns it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work until the response is complete or the client disconnects."""
        work = asyncio.ensure_future(self.work(send))
        disconnected = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((work, disconnected), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and (response := work.result()) is not None:
                await response(scope, receive, send)
        finally:
            await _cancel(work, disconnected)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The reply to the jobs of one request, as a whole or as a stream."""

    backend: Backend
    jobs: Sequence[Job]
    style: ReplyStyle
    include_usage: bool

    async def collect(self, send: Send) -> Response:
        """Return the whole answer."""
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

    async def stream(self, send: Send) -> None:
        """Send each piece as an event when it arrives; send an error as an event too."""
        usage, started = self._usage(), set[int]()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def send_event(body: JsonObject) -> None:
            event = b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})

        async def send_piece(choice: int, piece: Piece) -> None:
            usage.add(piece)
            prompt = None if choice in started else self.jobs[choice // self.jobs[0].n].prompt
            started.add(choice)
            await send_event(self.style.chunk(choice, piece, prompt))

        try:
            await self._work(send_piece)
            if self.include_usage:
                await send_event(self.style.last(usage))
        except WireError as error:
            await send_event(error_body(error.message, error.status, error.param))
        except Exception as error:
            log.exception("a stream failed")
            await send_event(error_body(f"{type(error).__name__}: {error}", 500))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    def _usage(self) -> RequestUsage:
        return RequestUsage(prompt=sum(len(job.prompt) for job in self.jobs))

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
    number = installed() or "0"  # a source tree that is not installed has no version
    return JSONResponse({"version": number, "server": "collab"})
