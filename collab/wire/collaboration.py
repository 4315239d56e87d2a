"""A whole collaboration behind one model's name: a chat goes in, thinking and an answer come out.

How its seats sample is the team's own: what a client says of temperature or length has no effect.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, field_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from collab.errors import CollabError
from collab.trajectory import Json, Message, Question
from collab.wire.app import answer_with, error_body, read_json
from collab.wire.backend import WireError
from collab.wire.schema import parse

if TYPE_CHECKING:
    from collab.engine import Episode

log = logging.getLogger(__name__)

Play = Callable[[Question], Awaitable["Episode"]]


class Part(BaseModel):
    """A piece of a message; only text can be thought about."""

    type: Literal["text"]
    text: str


class Said(BaseModel):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def message(self) -> Message:
        """The turn as a policy and its seats read it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message("system" if self.role == "developer" else self.role, text)


class Chat(BaseModel):
    """POST /v1/chat/completions, as far as it is heard."""

    model: str | None = None
    messages: list[Said] = Field(min_length=1)
    n: Literal[1] = 1
    seed: int | None = None
    """The same seed brings the same episode; without one each request is a new one."""
    stream: bool = False

    @field_validator("messages")
    @classmethod
    def _asks(cls, messages: list[Said]) -> list[Said]:
        if messages[-1].role == "assistant":
            raise ValueError("a reply that was begun is not continued here: end with a user's turn")
        return messages


def build_collaboration(name: str, play: Play) -> Starlette:
    """Serve whatever `play` plays as the model `name`."""

    async def chat(request: Request) -> Response:
        asked = parse(Chat, await read_json(request))
        if asked.model not in (None, name):
            said = f"The model {asked.model!r} does not exist (served here: {name!r})."
            raise WireError(said, param="model", status=404)
        messages = tuple(said.message for said in asked.messages)
        seed = uuid.uuid4().hex if asked.seed is None else asked.seed
        told = json.dumps([seed, [[one.role, one.content] for one in messages]])
        question = Question(f"served/{uuid.uuid5(uuid.NAMESPACE_OID, told).hex}", messages)
        if asked.stream:
            return StreamingResponse(_stream(name, play, question), media_type="text/event-stream")
        try:
            return JSONResponse(_whole(name, await play(question)))
        except CollabError as error:
            raise WireError(_said(error), status=500) from error

    async def models(request: Request) -> Response:
        model = {"id": name, "object": "model", "created": 0, "owned_by": "collab"}
        return JSONResponse({"object": "list", "data": [model]})

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", lambda request: Response()),
    ]
    return answer_with(routes)


def _whole(name: str, episode: Episode) -> dict[str, Json]:
    trajectory = episode.trajectory
    message = {
        "role": "assistant",
        "content": trajectory.answer.strip(),
        "reasoning_content": trajectory.thinking,
    }
    choice: Json = {"index": 0, "message": message, "finish_reason": _finish(episode)}
    head = _head(name, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(episode)}


async def _stream(name: str, play: Play, question: Question) -> AsyncIterator[str]:
    """Tell an episode unit by unit once it is over: what was struck is never told."""
    try:
        episode = await play(question)
        for body in _chunks(name, episode):
            yield f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
    except Exception as error:
        yield f"data: {json.dumps(error_body(_said(error), 500))}\n\n"
    yield "data: [DONE]\n\n"


def _said(error: Exception) -> str:
    """Say in a line why an episode failed, to whoever serves it too."""
    said = f"{type(error).__name__}: {error}"
    log.warning("an episode failed: %s", said)
    return said


def _chunks(name: str, episode: Episode) -> Iterator[dict[str, Json]]:
    head = _head(name, "chat.completion.chunk")
    trajectory = episode.trajectory
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for unit in trajectory.units:
        deltas.append({"reasoning_content": unit.text, "author": unit.author})
    deltas.append({"content": trajectory.answer.strip()})
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last: Json = {"index": 0, "delta": {}, "finish_reason": _finish(episode)}
    yield {**head, "choices": [last], "usage": _usage(episode)}


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
