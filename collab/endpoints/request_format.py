"""The request and reply format of each kind of API.

The client handles addresses, limits and time; a format handles fields. Every format returns a
`Completion`, so that one place checks every draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from collab.core.sampling import Request
from collab.core.trajectory import Json
from collab.endpoints import reply
from collab.endpoints.reply import Completion

Body = dict[str, Json]


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One request for draws, with the endpoint's own settings."""

    request: Request
    served: str
    """The server's name of the model."""
    n: int
    seed: int
    """Of the first draw; the next ones count up."""
    stop: tuple[str, ...] = ()
    """As many of the request's stop strings as the server takes."""
    show_special: bool = False
    """Whether special tokens must appear in the text, since a stop string holds one."""
    context: int | None = None
    """Prompt and reply together (tokens), where it is known."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """The format of a streamed reply."""

    fields: Body
    """The fields that request a stream."""
    parse: Callable[[str, bytes], Completion]
    """Parses an event, given the address of the stream and the data of the event."""
    parse_whole: Callable[[str, bytes], Completion]
    """Parses the reply of a server that ignores the request for a stream."""


class RequestFormat(Protocol):
    """The format of one kind of API."""

    stream: ClassVar[StreamFormat | None]
    """How replies are streamed; None: a reply arrives whole."""

    def place(self, url: str) -> str:
        """Return the address of the route, given that of the API (which ends in /v1)."""
        ...

    def body(self, ask: EndpointRequest) -> Body:
        """Return the fields of a request: all of them, so that no default of the server applies."""
        ...

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Read a reply's body.

        Raises:
            BadReply: It is not a reply of this API, or has its text in the wrong field.
        """
        ...


class Completions:
    """OpenAI's completions with vLLM's fields: the prompt is ids or text."""

    stream: ClassVar[StreamFormat | None] = StreamFormat(
        {"stream": True, "stream_options": {"include_usage": True}},
        reply.parse_event,
        reply.parse_completion,
    )

    def place(self, url: str) -> str:
        """Return the route of completions."""
        return f"{url}/completions"

    def body(self, ask: EndpointRequest) -> Body:
        """Request the ids and the stop string, and that nothing is added to the prompt."""
        request = ask.request
        body: Body = {
            **request.sampling.model_dump(),
            "model": ask.served,
            "prompt": request.prompt if isinstance(request.prompt, str) else list(ids_of(request)),
            "n": ask.n,
            "seed": ask.seed,
            "max_tokens": request.max_tokens,
            "stop": list(ask.stop),
            "add_special_tokens": False,
            "include_stop_str_in_output": True,
            "return_token_ids": True,
        }
        if request.logprobs:
            body["logprobs"] = request.logprobs
        if request.scored:
            body["prompt_logprobs"] = 1
        if ask.show_special:
            body["skip_special_tokens"] = False
        return body

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Parse the reply."""
        return reply.parse_completion(url, body)


def ids_of(request: Request) -> tuple[int, ...]:
    """Return a prompt's token ids.

    Raises:
        TypeError: It is a conversation, which only a chat dialect lays out.
    """
    if not isinstance(request.prompt, tuple):
        raise TypeError(
            f"this request format takes ids or text, not {type(request.prompt).__name__}"
        )
    return request.prompt
