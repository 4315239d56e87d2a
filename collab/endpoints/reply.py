"""The replies of the API as pydantic models, as far as their fields are used.

A reply is parsed once, whole or event by event. An invalid reply is an error that shows its
beginning.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from collab.endpoints.bound import check_count
from collab.endpoints.error_mapping import broken, strange
from collab.endpoints.limits import Retryable
from collab.errors import BadReply, Unreachable

ReplyT = TypeVar("ReplyT", bound=BaseModel)
ShapeT = TypeVar("ShapeT")
Count = Annotated[int, Field(ge=0, lt=2**40)]
"""A number of tokens, at most what a database can hold."""


class Details(BaseModel):
    """Details of the prompt's tokens."""

    cached_tokens: Count | None = None


class CompletionTokens(BaseModel):
    """Details of the completion's tokens."""

    reasoning_tokens: Count | None = None


class Usage(BaseModel):
    """The token counts of the server."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: Details | None = None
    completion_tokens_details: CompletionTokens | None = None


class ReplyLogprobs(BaseModel):
    """The chances of the tokens drawn, and of the likeliest ones in their places."""

    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class PromptToken(BaseModel):
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
    logprobs: ReplyLogprobs | None = None
    prompt_logprobs: list[dict[str, PromptToken] | None] | None = None


class Completion(BaseModel):
    """The reply to POST /v1/completions, or one event of its stream."""

    choices: list[Choice]
    usage: Usage | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None


class MessagePart(BaseModel):
    """A stretch of a message that has kinds of them."""

    type: str
    text: str | None = None
    thinking: list[MessagePart] = []


class ReplyMessage(BaseModel):
    """The message of a chat reply; servers use different fields for the thinking."""

    content: str | list[MessagePart] | None = None
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


class TopToken(BaseModel):
    """A token with its log-probability."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position of a chat's answer."""

    top_logprobs: list[TopToken] = []


class ChatLogprobs(BaseModel):
    """The likeliest tokens of a chat's answer."""

    content: list[Position] | None = None


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int = 0
    message: ReplyMessage
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: ChatLogprobs | None = None


class ChatReply(BaseModel):
    """The reply to POST /v1/chat/completions."""

    model: str | None = None
    choices: list[ChatChoice] = Field(min_length=1)
    usage: Usage | None = None
    system_fingerprint: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None


class ServedMeta(BaseModel):
    """What llama.cpp says of a model that it offers."""

    n_ctx: Count | None = None
    """The context of each slot (tokens)."""


class ServedModel(BaseModel):
    """A model that a server offers."""

    id: str
    max_model_len: Count | None = None
    meta: ServedMeta | None = None

    @property
    def context(self) -> int | None:
        """Prompt and completion together (tokens), where the server says so."""
        return self.max_model_len or (self.meta.n_ctx if self.meta else None)


class Models(BaseModel):
    """The reply to GET /v1/models."""

    data: list[ServedModel]


def parse_reply(kind: type[ReplyT], url: str, body: bytes) -> ReplyT:
    """Read a reply.

    Raises:
        BadReply: It is not JSON, or not of this shape; the message shows how it begins.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(url, body, error) from None


def read_any(kind: TypeAdapter[ShapeT], url: str, body: bytes) -> ShapeT:
    """Read a reply that is one of several shapes.

    Raises:
        BadReply: As for `parse_reply`.
    """
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise _unreadable(url, body, error) from None


def _unreadable(url: str, body: bytes, error: ValidationError) -> BadReply:
    try:
        body.decode()
    except UnicodeDecodeError as broken:
        return strange(url, body, f"not UTF-8: {broken.reason}")
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"]))
    return strange(url, body, f"{field}: {first['msg']}" if field else first["msg"])


class MessageParts:
    """The events of a streamed completion, put together.

    Args:
        url: Where they come from.
        tokens: How many the completion may have.
    """

    def __init__(self, url: str, tokens: int) -> None:
        self.url = url
        self._tokens = tokens
        self.text = ""
        """The parts received so far."""
        self._last = Choice(text="")
        self._prompt_ids: tuple[int, ...] | None = None
        self._ids: list[int] | None = None
        self._drawn: list[float | None] = []
        self._tops: list[dict[str, float] | None] = []
        self._usage: Usage | None = None
        self._model: str | None = None
        self._fingerprint: str | None = None

    def add(self, line: bytes) -> str:
        """Take in one line of the stream and return the text that it brought.

        Raises:
            Again: The server broke off with an error.
            BadReply: This is no event stream, or brings more than was asked for.
        """
        field, _, value = line.partition(b":")
        data = value.strip()
        if field.strip() not in (b"", b"data", b"event", b"id", b"retry"):
            raise strange(self.url, line, "not an event stream")
        if field != b"data" or data == b"[DONE]":
            return ""
        if (error := broken(self.url, data)) is not None:
            raise error
        part = parse_reply(Completion, self.url, data)
        self._usage = part.usage or self._usage
        self._model = part.model or self._model
        self._fingerprint = part.system_fingerprint or self._fingerprint
        if len(part.choices) > 1:
            raise BadReply(f"{self.url} returned {len(part.choices)} choices for n=1")
        for choice in part.choices:
            self._take(choice)
            return choice.text
        return ""

    def join(self) -> Completion:
        """Return the completion as one reply.

        Raises:
            Again: The stream ended before the completion did.
        """
        if self._last.finish_reason is None:
            raise Retryable(
                Unreachable(f"{self.url} ended its stream before the completion was finished")
            )
        return self.so_far()

    def so_far(self) -> Completion:
        """Return the parts received so far as one reply."""
        whole = self._last.model_copy(
            update={
                "text": self.text,
                "token_ids": None if self._ids is None else tuple(self._ids),
                "prompt_token_ids": self._prompt_ids,
                "logprobs": ReplyLogprobs(token_logprobs=self._drawn, top_logprobs=self._tops),
            }
        )
        return Completion(
            choices=[whole],
            usage=self._usage,
            model=self._model,
            system_fingerprint=self._fingerprint,
        )

    def _take(self, choice: Choice) -> None:
        """Add a part.

        Raises:
            BadReply: There are more tokens than requested.
        """
        self._last = choice
        self.text += choice.text
        if self._prompt_ids is None:
            self._prompt_ids = choice.prompt_token_ids
        if choice.token_ids is not None:
            self._ids = self._ids or []
            self._ids += choice.token_ids
        if choice.logprobs is not None:
            self._drawn += choice.logprobs.token_logprobs or ()
            self._tops += choice.logprobs.top_logprobs or ()
        check_count(self._tokens, max(map(len, (self._ids or (), self._drawn, self._tops))))
