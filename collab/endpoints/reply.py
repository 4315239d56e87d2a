"""The shapes of the API's replies, as far as they are used here.

A reply is read once, whole or event by event, into pydantic values; what is none of the API's is an
error that shows how it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from collab.endpoints.fault import broken, strange
from collab.endpoints.limits import Again
from collab.errors import BadReply, Unreachable

Model = TypeVar("Model", bound=BaseModel)
Shape = TypeVar("Shape")


class Details(BaseModel):
    """What the prompt's tokens were."""

    cached_tokens: int | None = None


class Written(BaseModel):
    """What the completion's tokens were."""

    reasoning_tokens: int | None = None


class Usage(BaseModel):
    """What the server counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Written | None = None


class Logprobs(BaseModel):
    """The chances of the tokens drawn, and of the likeliest ones in their places."""

    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Scored(BaseModel):
    """The chance of one token of a prompt."""

    logprob: float


class Choice(BaseModel):
    """One continuation, or a streamed part of one."""

    index: int = 0
    text: str
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    logprobs: Logprobs | None = None
    prompt_logprobs: list[dict[str, Scored] | None] | None = None


class Completion(BaseModel):
    """The reply to POST /v1/completions, or one event of its stream."""

    choices: list[Choice]
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None


class Part(BaseModel):
    """A stretch of a message that has kinds of them."""

    type: str
    text: str | None = None
    thinking: list[Part] = []


class Said(BaseModel):
    """The message of a chat reply; servers differ in what they call the thinking."""

    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @property
    def thought(self) -> str:
        """The thinking, as far as it is returned apart from the answer."""
        parts = self.content if isinstance(self.content, list) else []
        inside = "".join(piece.text or "" for part in parts for piece in part.thinking)
        return self.reasoning_content or self.reasoning or inside

    @property
    def answer(self) -> str:
        """The content."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class Likely(BaseModel):
    """A token with its log-probability."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position of a chat's answer."""

    top_logprobs: list[Likely] = []


class ChatLogprobs(BaseModel):
    """The likeliest tokens of a chat's answer."""

    content: list[Position] | None = None


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int = 0
    message: Said
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: ChatLogprobs | None = None


class Chat(BaseModel):
    """The reply to POST /v1/chat/completions."""

    model: str | None = None
    choices: list[ChatChoice] = Field(min_length=1)
    usage: Usage | None = None
    system_fingerprint: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None


class Served(BaseModel):
    """A model that a server offers."""

    id: str
    max_model_len: int | None = None


class Models(BaseModel):
    """The reply to GET /v1/models."""

    data: list[Served]


def read(kind: type[Model], url: str, body: str) -> Model:
    """Read a reply.

    Raises:
        BadReply: It is not JSON, or not of this shape; the message shows how it begins.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(url, body, error) from None


def read_any(kind: TypeAdapter[Shape], url: str, body: str) -> Shape:
    """Read a reply that is one of several shapes.

    Raises:
        BadReply: As for `read`.
    """
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise _unreadable(url, body, error) from None


def _unreadable(url: str, body: str, error: ValidationError) -> BadReply:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    return strange(url, body, f"{field}: {first['msg']}" if field else first["msg"])


class Parts:
    """The events of a streamed completion, put together."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.text = ""
        self._choices: list[Choice] = []
        self._usage: Usage | None = None
        self._model: str | None = None
        self._fingerprint: str | None = None

    def add(self, line: bytes) -> str:
        """Take in one line of the stream and return the text that it brought.

        Raises:
            Again: The server broke off with an error.
            BadReply: This is no event stream.
        """
        field, _, value = line.partition(b":")
        data = value.strip().decode(errors="replace")
        if field.strip() not in (b"", b"data", b"event", b"id", b"retry"):
            raise strange(self.url, line.decode(errors="replace"), "no event stream")
        if field != b"data" or data == "[DONE]":
            return ""
        if (error := broken(self.url, data)) is not None:
            raise error
        part = read(Completion, self.url, data)
        self._choices += part.choices
        self._usage = part.usage or self._usage
        self._model = part.model or self._model
        self._fingerprint = part.system_fingerprint or self._fingerprint
        text = "".join(choice.text for choice in part.choices)
        self.text += text
        return text

    def join(self) -> Completion:
        """Return the completion as one reply.

        Raises:
            Again: The stream ended before the completion did.
        """
        if not self._choices or self._choices[-1].finish_reason is None:
            raise Again(Unreachable(f"{self.url} ended its stream before the completion"))
        return self.so_far()

    def so_far(self) -> Completion:
        """Return what has come as one reply, whether it is whole or not."""
        last = self._choices[-1] if self._choices else Choice(text="")
        whole = last.model_copy(
            update={
                "text": self.text,
                "token_ids": _all_ids(self._choices),
                "prompt_token_ids": _first_ids(self._choices),
                "logprobs": _all_logprobs(self._choices),
            }
        )
        return Completion(
            choices=[whole],
            usage=self._usage,
            model=self._model,
            system_fingerprint=self._fingerprint,
        )


def _first_ids(choices: Sequence[Choice]) -> tuple[int, ...] | None:
    echoes = (choice.prompt_token_ids for choice in choices)
    return next((echo for echo in echoes if echo is not None), None)


def _all_ids(choices: Sequence[Choice]) -> tuple[int, ...] | None:
    parts = [choice.token_ids for choice in choices]
    if all(part is None for part in parts):
        return None
    return tuple(index for part in parts for index in part or ())


def _all_logprobs(choices: Sequence[Choice]) -> Logprobs:
    parts = [choice.logprobs for choice in choices if choice.logprobs]
    return Logprobs(
        token_logprobs=[value for part in parts for value in part.token_logprobs or ()],
        top_logprobs=[place for part in parts for place in part.top_logprobs or ()],
    )
