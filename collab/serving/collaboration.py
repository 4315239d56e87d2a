"""Serve a whole collaboration as one model: it takes a chat, and returns thinking and an answer.

The team decides how its seats sample. A request with other sampling settings is refused by name.
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
"""Plays a question, with at most the given number of tokens (None: the team's own budget)."""


class ContentPart(BaseModel):
    """A part of a message. Only text is supported."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class CollaborationTurn(BaseModel):
    """A message of the conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]
    name: None = None

    @property
    def message(self) -> Message:
        """The message in the form that policies and seats read."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message("system" if self.role == "developer" else self.role, text)


class CollaborationRequest(ModelRequest):
    """POST /v1/chat/completions."""

    messages: list[CollaborationTurn] = Field(min_length=1, max_length=MESSAGES, fail_fast=True)
    n: Literal[1] | None = 1
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    """Requests with the same seed get the same episode. None: a new episode each time."""
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """Limit of thinking and answer together (tokens), if the team's budget is larger."""
    stop: str | list[str] | None = None
    """The answer ends before the first of these strings."""
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: list[CollaborationTurn]) -> list[CollaborationTurn]:
        if messages[-1].role == "assistant":
            raise ValueError("the last message must be the user's: no reply is continued here")
        texts = [turn.message.content for turn in messages]
        if sum(map(len, texts)) > CHARACTERS:
            raise ValueError(f"at most {CHARACTERS:,} characters are accepted")
        if any("\0" in text for text in texts):
            raise ValueError("a NUL character cannot be stored: remove it")
        return messages

    @field_validator("stop")
    @classmethod
    def _stops(cls, stop: str | list[str] | None) -> list[str]:
        stops = [stop] if isinstance(stop, str) else stop or []
        if "" in stops or len(stops) > STOPS:
            raise ValueError(f"at most {STOPS} strings are allowed, and none may be empty")
        return stops

    @property
    def question(self) -> Question:
        """The question, with an id made from the seed and the messages."""
        messages = tuple(turn.message for turn in self.messages)
        seed = uuid.uuid4().hex if self.seed is None else self.seed
        content = json.dumps([seed, [[message.role, message.content] for message in messages]])
        return Question(f"served/{uuid.uuid5(uuid.NAMESPACE_OID, content).hex}", messages)


@dataclass(frozen=True, slots=True)
class _Reply:
    """The format of the reply to one request."""

    model: str
    stops: tuple[str, ...] = ()
    usage_chunk: bool = False
    """Whether a stream ends with a chunk that holds only the usage."""

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
        """Yield one chunk per unit, then the answer."""
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
        yield {**head, "choices": [last], **({} if self.usage_chunk else usage)}
        if self.usage_chunk:
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
    """Build the web app that serves the episodes of `play` as one model.

    Args:
        name: The name of the model.
        play: Plays a question.
        key: The API key that clients must send (to all routes but /health).
        names: Host names of the server, besides `localhost` and IP addresses.
    """

    async def chat(request: Request) -> Response | CancellableResponse:
        asked = parse(CollaborationRequest, await read_json(request))
        if asked.model not in (None, name):
            message = (
                f"The model {shortened(str(asked.model))!r} does not exist (served here: {name!r})."
            )
            raise WireError(message, param="model", status=404)
        limit = asked.max_completion_tokens or asked.max_tokens
        playing = partial(play, asked.question, limit)
        usage_chunk = asked.stream_options is not None and asked.stream_options.include_usage
        reply = _Reply(name, tuple(asked.stop or ()), usage_chunk)
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
    """Send an episode unit by unit once it is over, so that no struck unit is sent."""
    try:
        episode = await playing()
        for body in reply.chunks(episode):
            yield f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
    except Exception as error:
        refusal = _refused(error)
        yield f"data: {json.dumps(error_body(refusal.message, refusal.status))}\n\n"
    yield "data: [DONE]\n\n"


def _refused(error: Exception) -> WireError:
    """Return the error of a failed episode for the client, and log it for the server's owner.

    Messages that do not fit the context or the chat template are the client's error (400).
    """
    reason = f"{type(error).__name__}: {error}"
    log.warning("an episode failed: %s", reason)
    clients = isinstance(error, ContextFull | ConfigError)
    return WireError(reason, param="messages" if clients else None, status=400 if clients else 500)


def _head(name: str, kind: str) -> dict[str, Json]:
    made = int(time.time())
    return {"id": f"collab-{uuid.uuid4().hex}", "object": kind, "created": made, "model": name}


def _finish(episode: Episode) -> str:
    return "stop" if episode.finish in ("answered", "stopped") else "length"


def _usage(episode: Episode) -> dict[str, Json]:
    """Count the tokens of living units in total and by author, with each author's tokenizer."""
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
