"""A whole collaboration behind one model's name: a chat goes in, thinking and an answer come out.

How its seats sample is the team's own: a request that asks for something else is refused by name.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from collab.core.trajectory import Json, Message, Question
from collab.errors import CollabError, ConfigError, ContextFull
from collab.serving.app import CancellableResponse, guarded
from collab.serving.backend import WireError
from collab.serving.body import error_body, read_json, shortened
from collab.serving.bounds import CHARACTERS, MESSAGES, STOPS
from collab.serving.schema import ModelRequest, StreamOptions, parse

if TYPE_CHECKING:
    from collab.episode.engine import Episode

log = logging.getLogger(__name__)

Play = Callable[[Question, int | None], Awaitable["Episode"]]
"""Plays a question, with at most so many tokens where the client says it."""


class ContentPart(BaseModel):
    """A piece of a message; only text can be thought about."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class CollaborationTurn(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]
    name: None = None

    @property
    def message(self) -> Message:
        """The turn as a policy and its seats read it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message("system" if self.role == "developer" else self.role, text)


class CollaborationRequest(ModelRequest):
    """POST /v1/chat/completions."""

    messages: list[CollaborationTurn] = Field(min_length=1, max_length=MESSAGES, fail_fast=True)
    n: Literal[1] | None = 1
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    """The same seed brings the same episode; without one each request is a new one."""
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of thinking and answer together, where the team's budget is larger."""
    stop: str | list[str] | None = None
    """The answer ends before the first of them."""
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: list[CollaborationTurn]) -> list[CollaborationTurn]:
        if messages[-1].role == "assistant":
            raise ValueError("a reply that was begun is not continued here: end with a user's turn")
        texts = [said.message.content for said in messages]
        if sum(map(len, texts)) > CHARACTERS:
            raise ValueError(f"at most {CHARACTERS:,} characters are read")
        if any("\0" in text for text in texts):
            raise ValueError("a NUL character cannot be stored")
        return messages

    @field_validator("stop")
    @classmethod
    def _stops(cls, stop: str | list[str] | None) -> list[str]:
        stops = [stop] if isinstance(stop, str) else stop or []
        if "" in stops or len(stops) > STOPS:
            raise ValueError(f"a stop cannot be an empty string, and there may be {STOPS} of them")
        return stops

    @property
    def question(self) -> Question:
        """What is asked, under a name that a seed and the messages decide."""
        messages = tuple(said.message for said in self.messages)
        seed = uuid.uuid4().hex if self.seed is None else self.seed
        told = json.dumps([seed, [[one.role, one.content] for one in messages]])
        return Question(f"served/{uuid.uuid5(uuid.NAMESPACE_OID, told).hex}", messages)


@dataclass(frozen=True, slots=True)
class _Reply:
    """How one request is answered."""

    model: str
    stops: tuple[str, ...] = ()
    usage_apart: bool = False
    """Whether a stream ends in a chunk with the usage alone."""

    def whole(self, episode: Episode) -> dict[str, Json]:
        """Return the reply to a request without a stream."""
        answer, finish = self._answer(episode)
        message = {
            "role": "assistant",
            "content": answer,
            "reasoning_content": episode.trajectory.thinking,
        }
        choice: Json = {"index": 0, "message": message, "finish_reason": finish}
        head = _head(self.model, "chat.completion")
        return {**head, "choices": [choice], "usage": _usage(episode)}

    def chunks(self, episode: Episode) -> Iterator[dict[str, Json]]:
        """Yield a chunk a unit, then the answer."""
        head = _head(self.model, "chat.completion.chunk")
        answer, finish = self._answer(episode)
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        for unit in episode.trajectory.units:
            deltas.append({"reasoning_content": unit.text, "author": unit.author})
        deltas.append({"content": answer})
        for delta in deltas:
            yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        last: Json = {"index": 0, "delta": {}, "finish_reason": finish}
        usage = {"usage": _usage(episode)}
        yield {**head, "choices": [last], **({} if self.usage_apart else usage)}
        if self.usage_apart:
            yield {**head, "choices": [], **usage}

    def _answer(self, episode: Episode) -> tuple[str, str]:
        """Return the answer up to the first stop string, and why it ends."""
        answer = episode.trajectory.answer.strip()
        found = [at for at in map(answer.find, self.stops) if at >= 0]
        if found:
            return answer[: min(found)], "stop"
        return answer, _finish(episode)


def build_collaboration(
    name: str, play: Play, *, key: str | None = None, names: frozenset[str] = frozenset()
) -> Starlette:
    """Serve whatever `play` plays as the model `name`.

    Args:
        name: What the model is called.
        play: Plays a question.
        key: What clients must send (all routes but /health).
        names: Names of the server, besides `localhost` and IP addresses.
    """

    async def chat(request: Request) -> Response | CancellableResponse:
        asked = parse(CollaborationRequest, await read_json(request))
        if asked.model not in (None, name):
            said = (
                f"The model {shortened(str(asked.model))!r} does not exist (served here: {name!r})."
            )
            raise WireError(said, param="model", status=404)
        most = asked.max_completion_tokens or asked.max_tokens
        playing = partial(play, asked.question, most)
        apart = asked.stream_options is not None and asked.stream_options.include_usage
        reply = _Reply(name, tuple(asked.stop or ()), apart)
        if asked.stream:
            return StreamingResponse(_stream(reply, playing), media_type="text/event-stream")
        return CancellableResponse(lambda send: _whole(reply, playing))

    async def models(request: Request) -> Response:
        model = {"id": name, "object": "model", "created": 0, "owned_by": "collab"}
        return JSONResponse({"object": "list", "data": [model]})

    async def health(request: Request) -> Response:
        return Response()

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ]
    return guarded(routes, key, names)


async def _whole(reply: _Reply, playing: Callable[[], Awaitable[Episode]]) -> Response:
    try:
        return JSONResponse(reply.whole(await playing()))
    except CollabError as error:
        raise _refused(error) from error


async def _stream(reply: _Reply, playing: Callable[[], Awaitable[Episode]]) -> AsyncIterator[str]:
    """Tell an episode unit by unit once it is over: what was struck is never told."""
    try:
        episode = await playing()
        for body in reply.chunks(episode):
            yield f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
    except Exception as error:
        refusal = _refused(error)
        yield f"data: {json.dumps(error_body(refusal.message, refusal.status))}\n\n"
    yield "data: [DONE]\n\n"


def _refused(error: Exception) -> WireError:
    """Say in a line why an episode failed, to whoever serves it too.

    A context or a chat template that has no room for the messages is the client's to mend.
    """
    said = f"{type(error).__name__}: {error}"
    log.warning("an episode failed: %s", said)
    clients = isinstance(error, ContextFull | ConfigError)
    return WireError(said, param="messages" if clients else None, status=400 if clients else 500)


def _head(name: str, kind: str) -> dict[str, Json]:
    made = int(time.time())
    return {"id": f"collab-{uuid.uuid4().hex}", "object": kind, "created": made, "model": name}


def _finish(episode: Episode) -> str:
    return "stop" if episode.finish in ("answered", "stopped") else "length"


def _usage(episode: Episode) -> dict[str, Json]:
    """Count living tokens, by author too: each is counted by its author's tokenizer."""
    trajectory, by = episode.trajectory, Counter[str]()
    for unit in (*trajectory.units, *trajectory.reply):
        by[unit.author] += unit.tokens
    read = trajectory.seams.tokens if trajectory.seams else 0
    thought = sum(unit.tokens for unit in trajectory.units)
    return {
        "prompt_tokens": read,
        "completion_tokens": trajectory.tokens,
        "total_tokens": read + trajectory.tokens,
        "completion_tokens_details": {"reasoning_tokens": thought},
        "by_author": dict(by),
    }
