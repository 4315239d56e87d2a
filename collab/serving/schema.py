"""The requests of the API, validated once.

A field that would change the answer is either obeyed or refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collab.serving.backend import Card, ChatTurns, Job, TokenIds, WireError
from collab.serving.body import shortened
from collab.serving.bounds import CHOICES, MESSAGES, STOP, STOPS

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "add_generation_prompt": (None, True),
    "allowed_token_ids": (None,),
    "audio": (None,),
    "bad_words": (None, []),
    "best_of": (None, 1),
    "chat_template": (None,),
    "chat_template_kwargs": (None, {}),
    "continue_final_message": (None, False),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None, []),
    "guided_json": (None,),
    "ignore_eos": (None, False),
    "include_stop_str_in_output": (None, False),
    "length_penalty": (None, 1),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "min_p": (None, 0),
    "min_tokens": (None, 0),
    "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, True, False),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "prompt_logprobs": (None,),
    "reasoning_effort": (None,),
    "repetition_penalty": (None, 1),
    "response_format": (None, {"type": "text"}),
    "return_token_ids": (None, False),
    "skip_special_tokens": (None, True),
    "spaces_between_special_tokens": (None, True, False),
    "stop_token_ids": (None, []),
    "suffix": (None, ""),
    "temperature": (None, 1),
    "tool_choice": (None, "none"),
    "tools": (None, []),
    "top_k": (None, 0, -1),
    "top_logprobs": (None, 0),
    "top_p": (None, 1),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (None, False),
    "verbosity": (None,),
    "web_search_options": (None,),
}
"""Fields that are known but not supported, with their neutral values. Other values are refused."""
HARMLESS = frozenset(
    {
        *("metadata", "priority", "prompt_cache_key", "request_id", "safety_identifier"),
        *("service_tier", "store", "user"),
    }
)
"""Fields that do not change the answer, and are dropped."""

Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
ChatRole = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ModelRequest(BaseModel):
    """Any request that names a model."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, data: Any) -> Any:  # Any: a request's body, before validation
        if not isinstance(data, dict):
            return data
        unserved = NEUTRAL.keys() - cls.model_fields.keys()
        for name in data:
            if name in unserved and data[name] not in NEUTRAL[name]:
                message = f"{name}={shortened(repr(data[name]))} is not supported here"
                raise WireError(message, param=name)
        return {k: v for k, v in data.items() if k not in unserved and k not in HARMLESS}


Number = TypeVar("Number", int, float)
RequestT = TypeVar("RequestT", bound=BaseModel)


class StreamOptions(BaseModel):
    """What a stream reports in addition to its text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    continuous_usage_stats: Literal[False] = False


class SamplingRequest(ModelRequest):
    """The sampling fields that completions and chats share."""

    n: int = Field(default=1, ge=1, le=CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31)
    min_p: float | None = Field(default=None, ge=0, le=1)
    stop: str | list[str] | None = None
    stop_token_ids: Ids | None = Field(default=None, max_length=STOPS)
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True
    ignore_eos: bool = False
    min_tokens: int = Field(default=0, ge=0)
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk that holds the usage."""
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
        """Build the backend's job, with the checkpoint's defaults filled in.

        Raises:
            WireError: The context has no room for the job, or a field has an impossible value.
        """
        own = card.defaults
        room = _room(card.context, len(prompt), longest)
        if self.min_tokens > room:
            raise WireError(
                f"min_tokens={self.min_tokens} is larger than max_tokens={room}", param="min_tokens"
            )
        return Job(
            model=model,
            prompt=prompt,
            n=self.n,
            seed=self.seed,
            max_tokens=room,
            min_tokens=self.min_tokens,
            stop=_stops(self.stop),
            stop_ids=_stop_ids(self.stop_token_ids or (), card),
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

    prompt: (
        str
        | Ids
        | Annotated[list[str], Field(max_length=CHOICES, fail_fast=True)]
        | Annotated[list[Ids], Field(max_length=CHOICES, fail_fast=True)]
    )
    max_tokens: int | None = Field(default=16, ge=0)
    """0: return only the prompt (with `echo`)."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool = False
    add_special_tokens: bool = True

    @model_validator(mode="after")
    def _check_prompt_fields(self) -> CompletionRequest:
        if self.max_tokens == 0 and not self.echo:
            raise WireError("max_tokens must be at least 1 without echo", param="max_tokens")
        about_prompt = {"echo": self.echo, "prompt_logprobs": self.prompt_logprobs is not None}
        for name, asked in about_prompt.items():
            if self.stream and asked:
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
        """The prompts as a list. A list of numbers is one prompt."""
        match self.prompt:
            case str():
                return [self.prompt]
            case [] | [int(), *_]:
                return [cast(Ids, self.prompt)]  # validated: all are ints
            case _:
                return cast(list[str | Ids], self.prompt)  # validated: strings or lists of ints


class ChatMessage(BaseModel):
    """A message of a chat. A template may read further fields."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: ChatRole
    content: str | list[dict[str, Any]] | None = (
        None  # Any: parts of any kind; only text is accepted
    )


class ChatPrompt(ModelRequest):
    """A prompt that the chat template renders."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MESSAGES, fail_fast=True)
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
    def chat(self) -> ChatTurns:
        """The messages, with each content as one string."""
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
        WireError: The request is not valid; `param` names the field.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        # in a union, the deepest error is that of the type that matched best
        deepest = max(found, key=lambda error: len(error["loc"]))
        param = shortened(str(deepest["loc"][0])) if deepest["loc"] else None
        raise WireError(f"{param or 'body'}: {deepest['msg']}", param=param) from error


def _or(given: Number | None, default: Number) -> Number:
    return default if given is None else given


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    if any(part.get("type") != "text" for part in message.content):
        raise WireError("only content parts of type 'text' are supported", param="messages")
    return "".join(str(part.get("text", "")) for part in message.content)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in stops:
        raise WireError("stop cannot be an empty string", param="stop")
    if len(stops) > STOPS or max(map(len, stops), default=0) > STOP:
        message = f"stop: at most {STOPS} strings of at most {STOP:,} characters are allowed"
        raise WireError(message, param="stop")
    return stops


def _stop_ids(ids: Sequence[int], card: Card) -> frozenset[int]:
    if max(ids, default=0) >= card.vocabulary:
        raise WireError(f"Token id {max(ids)} is out of vocabulary", param="stop_token_ids")
    return frozenset(ids)


def _room(context: int, prompt: int, wanted: int | None) -> int:
    if not prompt:
        raise WireError("the prompt is empty", param="prompt")
    if prompt + (wanted or 1) <= context:
        return wanted or context - prompt
    raise WireError(
        f"This model's maximum context length is {context} tokens. However, you requested "
        f"{wanted or 1} output tokens and your prompt contains {prompt} input tokens, for a "
        f"total of {prompt + (wanted or 1)} tokens. Please reduce the length of the input prompt "
        f"or the number of requested output tokens. (max_model_len={context})",
        param="input_tokens",
    )
