"""The replies of the API as pydantic models, as far as their fields are used.

A reply is parsed once, whole or event by event. Fields that do not matter may be missing or odd; a
reply without choices or without a text is an error that quotes it, and so is one that reports an
error under a successful status.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from collab.endpoints.api_error import json_of
from collab.endpoints.error_mapping import missing, reported, strange
from collab.endpoints.message import ReplyMessage
from collab.endpoints.tolerance import Expected, Lenient, Several, TolerantReply
from collab.errors import BadReply

ReplyT = TypeVar("ReplyT", bound=BaseModel)
ShapeT = TypeVar("ShapeT")
Count = Annotated[int, Field(ge=0, le=10**8)]
"""A number of tokens; no context is longer."""


class _Part(BaseModel):
    """A part of a reply; a number may be in the place of a string."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Details(BaseModel):
    """Details of the prompt's tokens."""

    cached_tokens: Lenient[Count] = None


class CompletionTokens(BaseModel):
    """Details of the completion's tokens."""

    reasoning_tokens: Lenient[Count] = None


class Usage(BaseModel):
    """The token counts of the server; None: it has not counted them."""

    prompt_tokens: Expected[Count] = None
    completion_tokens: Expected[Count] = None
    prompt_tokens_details: Lenient[Details] = None
    completion_tokens_details: Lenient[CompletionTokens] = None


class ReplyLogprobs(BaseModel):
    """The log-probabilities of the drawn tokens, and of the likeliest ones in their places."""

    token_logprobs: Lenient[list[float | None]] = None
    top_logprobs: Lenient[list[dict[str, float | None] | None]] = None


class PromptToken(BaseModel):
    """The log-probability of one token of a prompt."""

    logprob: float


def _reason(value: object) -> object:
    """Return the type of a finish reason that is an object."""
    return value.get("type") if isinstance(value, dict) else value


Reason = Annotated[Lenient[str], BeforeValidator(_reason)]


class Choice(_Part):
    """One continuation, or a streamed part of one."""

    index: Expected[int] = None
    """None: the order of the choices counts."""
    text: Lenient[str] = None
    """None in the parts of a stream only."""
    finish_reason: Reason = None
    stop_reason: Lenient[str | int] = None
    token_ids: Lenient[tuple[int, ...]] = None
    prompt_token_ids: Lenient[tuple[int, ...]] = None
    logprobs: Lenient[ReplyLogprobs] = None
    prompt_logprobs: Lenient[list[dict[str, PromptToken | None] | None]] = None
    refused: bool = False
    """Whether the API refused to answer, in a field of its own."""
    error: object = None

    @property
    def written(self) -> str:
        """The text, empty if there is none."""
        return self.text or ""


class Completion(TolerantReply):
    """The reply to POST /v1/completions, or one event of its stream."""

    choices: Several[Choice] = Field(default_factory=list)
    usage: Lenient[Usage] = None
    model: Lenient[str] = None
    system_fingerprint: Lenient[str] = None
    prompt_token_ids: Lenient[tuple[int, ...]] = None

    @property
    def ordered(self) -> list[Choice]:
        """The choices by their index; those without one keep their place."""
        placed = enumerate(self.choices)
        return [choice for _, choice in sorted(placed, key=lambda pair: _place(*pair))]

    def noting(self, odd: list[str]) -> Completion:
        """Note the odd fields of the reply that this completion was made from."""
        self.odd.extend(odd)
        return self


def _place(at: int, choice: Choice) -> int:
    return at if choice.index is None else choice.index


class TopToken(BaseModel):
    """A token with its log-probability."""

    token: str
    logprob: float | None


class Position(BaseModel):
    """The likeliest tokens at one position of a chat's answer."""

    top_logprobs: Several[TopToken] = Field(default_factory=list)


class ChatLogprobs(BaseModel):
    """The likeliest tokens of a chat's answer."""

    content: Lenient[list[Position]] = None


class ChatChoice(_Part):
    """One answer to a chat."""

    index: Expected[int] = None
    message: Lenient[ReplyMessage] = None
    finish_reason: Reason = None
    stop_reason: Lenient[str | int] = None
    token_ids: Lenient[tuple[int, ...]] = None
    logprobs: Lenient[ChatLogprobs] = None
    error: object = None


class ChatReply(TolerantReply):
    """The reply to POST /v1/chat/completions."""

    model: Lenient[str] = None
    choices: Several[ChatChoice] = Field(default_factory=list)
    usage: Lenient[Usage] = None
    system_fingerprint: Lenient[str] = None
    prompt_token_ids: Lenient[tuple[int, ...]] = None


class ServedMeta(_Part):
    """What llama.cpp reports of a model that it offers."""

    n_ctx: Lenient[Count] = None
    """The context of each slot (tokens)."""


class ServedModel(_Part):
    """A model that a server offers."""

    id: Lenient[str] = None
    """None: the entry is passed over."""
    max_model_len: Lenient[Count] = None
    meta: Lenient[ServedMeta] = None

    @property
    def context(self) -> int | None:
        """Prompt and completion together (tokens), where the server says so."""
        return self.max_model_len or (self.meta.n_ctx if self.meta else None)


class Models(BaseModel):
    """The reply to GET /v1/models: an object with a list, or the list itself."""

    data: list[ServedModel] | None


_MODELS: TypeAdapter[Models | list[ServedModel]] = TypeAdapter(Models | list[ServedModel])


def parse_models(url: str, body: bytes) -> list[ServedModel]:
    """Parse a list of models; entries without an id are left out.

    Raises:
        BadReply: It is not a list of models.
    """
    found = read_any(_MODELS, url, body)
    served = (found.data or []) if isinstance(found, Models) else found
    return [model for model in served if model.id]


def parse_completion(url: str, body: bytes) -> Completion:
    """Parse a whole completion.

    Raises:
        Retryable: It reports an error that may pass.
        EndpointError: It reports another error, or has no choices or no text.
    """
    completion = parse_reply(Completion, url, body)
    if not completion.choices:
        raise missing(url, body, "choices")
    if any(choice.text is None for choice in completion.choices):
        raise missing(url, body, "text")
    return completion


def parse_event(url: str, data: bytes) -> Completion:
    """Parse an event of a streamed completion, which may have neither choice nor text.

    Raises:
        Retryable: It reports an error that may pass.
        EndpointError: It reports another error, or is not an event of a completion.
    """
    return parse_reply(Completion, url, data)


def parse_reply(kind: type[ReplyT], url: str, body: bytes) -> ReplyT:
    """Parse a reply.

    Raises:
        Retryable: It reports an error that may pass.
        EndpointError: It reports another error, is not JSON, or is not a reply of this kind.
    """
    content, odd = json_of(body), list[str]()
    try:
        reply = kind.model_validate_json(content, context=odd)
    except ValidationError as error:
        raise reported(url, content) or _unreadable(url, body, error) from None
    if isinstance(reply, TolerantReply):
        if _has_error(reply) and (failure := reported(url, content)) is not None:
            raise failure
        reply.odd.extend(odd)
    return reply


def read_any(kind: TypeAdapter[ShapeT], url: str, body: bytes) -> ShapeT:
    """Parse a reply that is of one of several kinds.

    Raises:
        EndpointError: As for `parse_reply`.
    """
    content = json_of(body)
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        raise reported(url, content) or _unreadable(url, body, error) from None


def _has_error(reply: TolerantReply) -> bool:
    choices = reply.choices if isinstance(reply, Completion | ChatReply) else None
    return bool(reply.error) or any(choice.error for choice in choices or ())


def _unreadable(url: str, body: bytes, error: ValidationError) -> BadReply:
    try:
        body.decode()
    except UnicodeDecodeError as broken:
        return strange(url, body, f"not UTF-8: {broken.reason}")
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"]))
    return strange(url, body, f"{field}: {first['msg']}" if field else first["msg"])
