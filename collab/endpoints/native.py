"""Raw prompts on servers' native routes, which give more than their OpenAI-compatible ones.

SGLang's route returns token ids and the stop string that matched; llama.cpp's returns ids and the
stop string; Ollama's is its only route that takes a raw prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, TypeAdapter

from collab.core.sampling import Request
from collab.core.trajectory import Json
from collab.endpoints import reply
from collab.endpoints.reply import Choice, Completion, Count, Details, ReplyLogprobs, Usage
from collab.endpoints.request_format import Body, EndpointRequest, StreamFormat
from collab.endpoints.tolerance import Lenient, TolerantReply
from collab.errors import ConfigError


class _Matched(BaseModel):
    """Why SGLang stopped."""

    type: str
    matched: str | int | None = None


class _Meta(BaseModel):
    """SGLang's description of a draw."""

    prompt_tokens: Lenient[Count] = None
    completion_tokens: Lenient[Count] = None
    cached_tokens: Lenient[Count] = None
    finish_reason: Lenient[_Matched | str] = None
    output_top_logprobs: Lenient[list[list[tuple[float, int, str | None]] | None]] = None


class _Generated(BaseModel):
    """One draw of SGLang's."""

    text: str
    output_ids: Lenient[tuple[int, ...]] = None
    meta_info: _Meta


class SglangGenerate:
    """SGLang's /generate."""

    stream: ClassVar[StreamFormat | None] = None

    def place(self, url: str) -> str:
        """Return the address of the native route."""
        return f"{url.removesuffix('/v1')}/generate"

    def body(self, ask: EndpointRequest) -> Body:
        """Keep the stop string, and ask for ids."""
        request = ask.request
        settings: Body = {
            **request.sampling.model_dump(),
            "max_new_tokens": request.max_tokens,
            "stop": list(ask.stop),
            "n": ask.n,
            "sampling_seed": ask.seed,
            "no_stop_trim": True,
            "skip_special_tokens": not ask.show_special,
        }
        body: Body = {**_prompt(request, "text", "input_ids"), "sampling_params": settings}
        if request.logprobs:
            body |= {"return_logprob": True, "top_logprobs_num": request.logprobs}
        return body

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Read one draw, or a list of them."""
        draws = reply.read_any(_GENERATED, url, body)
        found = draws if isinstance(draws, list) else [draws]
        first = found[0].meta_info
        return Completion(
            choices=[self._choice(i, draw) for i, draw in enumerate(found)],
            usage=Usage(
                prompt_tokens=first.prompt_tokens,
                completion_tokens=sum(draw.meta_info.completion_tokens or 0 for draw in found),
                prompt_tokens_details=Details(cached_tokens=first.cached_tokens),
            ),
        )

    def _choice(self, index: int, draw: _Generated) -> Choice:
        why = draw.meta_info.finish_reason
        why = _Matched(type=why) if isinstance(why, str) else why
        tops = draw.meta_info.output_top_logprobs
        return Choice(
            index=index,
            text=draw.text,
            token_ids=draw.output_ids,
            finish_reason=why and why.type,
            stop_reason=why.matched if why and isinstance(why.matched, str) else None,
            logprobs=None
            if tops is None
            else ReplyLogprobs(top_logprobs=[_by_id(top) for top in tops]),
        )


class _Likely(BaseModel):
    """One of llama.cpp's likeliest tokens."""

    id: int
    logprob: float


class _Probable(BaseModel):
    """The likeliest tokens at one position of llama.cpp's."""

    top_logprobs: list[_Likely] = []


class _Timings(BaseModel):
    """What llama.cpp measured of a draw."""

    cache_n: Lenient[Count] = None
    """Tokens of the prompt that were in its cache."""


class _Completed(TolerantReply):
    """One draw of llama.cpp's."""

    model: Lenient[str] = None
    content: str
    tokens: Lenient[tuple[int, ...]] = None
    stop_type: Lenient[str] = None
    stopping_word: Lenient[str] = None
    tokens_evaluated: Lenient[Count] = None
    tokens_predicted: Lenient[Count] = None
    timings: Lenient[_Timings] = None
    completion_probabilities: Lenient[list[_Probable]] = None


SAMPLERS = ("penalties", "temperature", "min_p", "top_k", "top_p")
"""llama.cpp's samplers that apply, in vLLM's order: its own cuts the tail before the temperature
acts."""


class LlamaCompletion:
    """llama.cpp's /completion.

    It gives one draw: with `n_cmpl`, a request waits until that many slots are free at once, for as
    long as shorter requests take them one by one. Penalties look at the whole text, prompt
    included: llama.cpp does not tell the two apart.
    """

    stream: ClassVar[StreamFormat | None] = None

    def place(self, url: str) -> str:
        """Return the address of the native route."""
        return f"{url.removesuffix('/v1')}/completion"

    def body(self, ask: EndpointRequest) -> Body:
        """Ask for ids; a prompt of ids goes under the same name as one of text."""
        request, sampling = ask.request, ask.request.sampling
        body: Body = {
            **_prompt(request, "prompt", "prompt"),
            "model": ask.served,
            "n_predict": request.max_tokens,
            "temperature": sampling.temperature,
            "top_k": max(sampling.top_k, 0),  # 0 is off here
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "repeat_last_n": _length(ask),
            "samplers": list(SAMPLERS),
            "seed": ask.seed,
            "return_tokens": True,
        }
        body |= {"stop": list(ask.stop)} if ask.stop else {}
        return body | ({"n_probs": request.logprobs} if request.logprobs else {})

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Parse the reply, which has one draw."""
        draw = reply.parse_reply(_Completed, url, body)
        return Completion(
            model=draw.model,
            choices=[self._choice(draw)],
            usage=Usage(
                prompt_tokens=draw.tokens_evaluated,
                completion_tokens=draw.tokens_predicted,
                prompt_tokens_details=Details(
                    cached_tokens=draw.timings.cache_n if draw.timings else None
                ),
            ),
        ).noting(draw.odd)

    def _choice(self, draw: _Completed) -> Choice:
        tops = draw.completion_probabilities
        positions = [{str(like.id): like.logprob for like in p.top_logprobs} for p in tops or ()]
        return Choice(
            text=draw.content,
            token_ids=draw.tokens or None,
            finish_reason=draw.stop_type if draw.stop_type != "none" else None,
            stop_reason=draw.stopping_word if draw.stop_type == "word" else None,
            logprobs=None if tops is None else ReplyLogprobs(top_logprobs=[*positions]),
        )


def _length(ask: EndpointRequest) -> int:
    """Return how many tokens the prompt and the reply have at most."""
    prompt = ask.request.prompt
    most = (len(prompt) if isinstance(prompt, str | tuple) else 0) + ask.request.max_tokens
    return most if ask.context is None else min(most, ask.context)


class _Responded(TolerantReply):
    """One draw of Ollama's."""

    model: Lenient[str] = None
    response: str
    done_reason: Lenient[str] = None
    prompt_eval_count: Lenient[Count] = None
    eval_count: Lenient[Count] = None


class OllamaGenerate:
    """Ollama's /api/generate with a raw prompt.

    It silently cuts the front of a prompt that does not fit into its context window, so the window
    is part of every request. It removes the stop string and does not report which one matched.
    """

    stream: ClassVar[StreamFormat | None] = None

    def place(self, url: str) -> str:
        """Return the address of the native route."""
        return f"{url.removesuffix('/v1')}/api/generate"

    def body(self, ask: EndpointRequest) -> Body:
        """Set the window with the rest.

        Raises:
            ConfigError: The context is not known.
        """
        if ask.context is None:
            raise ConfigError(
                f"the context of {ask.served!r} is not known, and Ollama silently truncates "
                "longer prompts; set the model's context (tokens)"
            )
        request, sampling = ask.request, ask.request.sampling
        options: Body = {
            "temperature": sampling.temperature,
            "top_k": max(sampling.top_k, 0),  # 0 is off here
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "num_predict": request.max_tokens,
            "num_ctx": ask.context,
            "seed": ask.seed,
            "stop": list(ask.stop),
        }
        plain: Body = {"model": ask.served, "raw": True, "stream": False, "options": options}
        return plain | _prompt(request, "prompt", None)

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Parse the reply, which has one draw."""
        draw = reply.parse_reply(_Responded, url, body)
        counted = draw.prompt_eval_count
        return Completion(
            model=draw.model,
            choices=[Choice(text=draw.response, finish_reason=draw.done_reason)],
            usage=None
            if counted is None
            else Usage(prompt_tokens=counted, completion_tokens=draw.eval_count),
        ).noting(draw.odd)


_GENERATED: TypeAdapter[_Generated | list[_Generated]] = TypeAdapter(_Generated | list[_Generated])


def _prompt(request: Request, text: str, ids: str | None) -> dict[str, Json]:
    """Put the prompt under the name that its kind has here."""
    match request.prompt:
        case str(prompt):
            return {text: prompt}
        case tuple(prompt) if ids is not None:
            return {ids: list(prompt)}
        case other:
            raise TypeError(f"this request format takes no {type(other).__name__}")


def _by_id(top: Sequence[tuple[float, int, str | None]] | None) -> dict[str, float] | None:
    return None if top is None else {str(token): logprob for logprob, token, _ in top}
