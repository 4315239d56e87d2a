"""The requests of the API, validated once.

A field that would change the answer is honoured or refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collab.wire.backend import Card, Chat, Job, TokenIds, WireError

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "allowed_token_ids": (None,),
    "bad_words": (None, []),
    "best_of": (None, 1),
    "frequency_penalty": (None, 0),
    "guided_json": (None,),
    "length_penalty": (None, 1),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "response_format": (None, {"type": "text"}),
    "spaces_between_special_tokens": (None, True, False),
    "suffix": (None, ""),
    "tool_choice": (None, "none"),
    "tools": (None, []),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (None, False),
}
"""Fields that are understood but not served: any other value than these is refused."""
HARMLESS = frozenset({"metadata", "priority", "request_id", "service_tier", "store", "user"})
"""Fields that change nothing in the answer."""

Ids = list[Annotated[int, Field(ge=0)]]


class ModelRequest(BaseModel):
    """Any request that names a model."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, data: Any) -> Any:  # Any: a request's body, before validation
        if not isinstance(data, dict):
            return data
        for name in NEUTRAL.keys() & data.keys() - cls.model_fields.keys():
            if data[name] not in NEUTRAL[name]:
                raise WireError(f"{name}={data[name]!r} is not supported here", param=name)
        return {k: v for k, v in data.items() if k not in NEUTRAL and k not in HARMLESS}


Number = TypeVar("Number", int, float)
RequestT = TypeVar("RequestT", bound=BaseModel)


class StreamOptions(BaseModel):
    """What a stream reports besides its text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    continuous_usage_stats: bool = False


class SamplingRequest(ModelRequest):
    """What completions and chats have in common."""

    n: int = Field(default=1, ge=1, le=4096)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    stop: str | list[str] | None = None
    stop_token_ids: Ids | None = None
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    ignore_eos: bool = False
    min_tokens: int = Field(default=0, ge=0)
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends in a chunk with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def job(
        self,
        model: str,
        card: Card,
        prompt: TokenIds,
        longest: int | None,
        top: int | None,
        scored: int | None = None,
    ) -> Job:
        """Say what is asked of the backend, the checkpoint's defaults filled in.

        Raises:
            WireError: The context has no room for it.
        """
        own = card.defaults
        return Job(
            model=model,
            prompt=prompt,
            n=self.n,
            seed=self.seed,
            max_tokens=_room(card.context, len(prompt), longest),
            min_tokens=self.min_tokens,
            stop=_stops(self.stop),
            stop_ids=frozenset(self.stop_token_ids or ()),
            keep_stop=self.include_stop_str_in_output,
            keep_special=not self.skip_special_tokens,
            ignore_end=self.ignore_eos,
            logprobs=top,
            prompt_logprobs=scored,
            stream=self.stream,
            temperature=_or(self.temperature, own.temperature),
            top_p=_or(self.top_p, own.top_p),
            top_k=_or(self.top_k, own.top_k),
            min_p=_or(self.min_p, own.min_p),
        )


class CompletionRequest(SamplingRequest):
    """POST /v1/completions."""

    prompt: str | Ids | list[str] | list[Ids]
    max_tokens: int | None = Field(default=16, ge=0)
    """0: the prompt alone is echoed."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool = False
    add_special_tokens: bool = True

    @model_validator(mode="after")
    def _check_prompt_fields(self) -> CompletionRequest:
        if self.max_tokens == 0 and not self.echo:
            raise WireError("max_tokens must be at least 1 without echo", param="max_tokens")
        told = {"echo": self.echo, "prompt_logprobs": self.prompt_logprobs is not None}
        for name in told:
            if self.stream and told[name]:
                raise WireError(f"{name} is not available when stream=true", param=name)
        return self

    @property
    def scored(self) -> int | None:
        """How many of the likeliest tokens to report at each position of the prompt, if any."""
        echoed = self.logprobs if self.echo else None
        asked = [count for count in (self.prompt_logprobs, echoed) if count is not None]
        return max(asked) if asked else None

    @property
    def prompts(self) -> list[str | Ids]:
        """The prompts, one or many; a list of numbers is one."""
        match self.prompt:
            case str():
                return [self.prompt]
            case [] | [int(), *_]:
                return [cast(Ids, self.prompt)]  # all of them are ints: validated
            case _:
                return cast(list[str | Ids], self.prompt)  # no ints left


class ChatMessage(BaseModel):
    """One turn; a template may read further fields of it."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[dict[str, Any]] | None = None  # Any: parts of kinds that are refused


class ChatPrompt(ModelRequest):
    """A prompt that the chat template makes."""

    messages: list[ChatMessage] = Field(min_length=1)
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False

    @model_validator(mode="after")
    def _check_flags(self) -> ChatPrompt:
        if self.add_generation_prompt and self.continue_final_message:
            raise WireError(
                "continue_final_message and add_generation_prompt are not compatible: "
                "send add_generation_prompt=false to continue the last message",
                param="continue_final_message",
            )
        return self

    @property
    def chat(self) -> Chat:
        """The messages, each content a string."""
        return [message.model_dump() | {"content": _text(message)} for message in self.messages]


class ChatRequest(ChatPrompt, SamplingRequest):
    """POST /v1/chat/completions."""

    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)


class TokenizeText(ModelRequest):
    """POST /tokenize, of a text."""

    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool = False


class TokenizeChat(ChatPrompt):
    """POST /tokenize, of a chat."""

    return_token_strs: bool = False


class Detokenize(ModelRequest):
    """POST /detokenize."""

    tokens: Ids


def parse(kind: type[RequestT], body: object) -> RequestT:
    """Validate a request.

    Raises:
        WireError: Something is wrong with it; `param` names the first field at fault.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        param = str(first["loc"][0]) if first["loc"] else None
        raise WireError(f"{param or 'body'}: {first['msg']}", param=param) from error


def _or(given: Number | None, default: Number) -> Number:
    return default if given is None else given


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    if any(part.get("type") != "text" for part in message.content):
        raise WireError("only text can be read here", param="messages")
    return "".join(str(part.get("text", "")) for part in message.content)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in stops:
        raise WireError("stop cannot be an empty string", param="stop")
    return stops


def _room(context: int, prompt: int, wanted: int | None) -> int:
    if not prompt:
        raise WireError("the prompt holds no token", param="prompt")
    if prompt + (wanted or 1) <= context:
        return wanted or context - prompt
    raise WireError(
        f"This model's maximum context length is {context} tokens. However, you requested "
        f"{wanted or 1} output tokens and your prompt contains {prompt} input tokens, for a "
        f"total of {prompt + (wanted or 1)} tokens. Please reduce the length of the input prompt "
        f"or the number of requested output tokens. (max_model_len={context})",
        param="input_tokens",
    )
