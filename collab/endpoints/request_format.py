"""A form: what one kind of API is sent for a draw, and how its reply reads.

The client knows addresses, limits and time; a form knows fields. Whatever an API calls them, what
comes out is a `Completion`, so that one place checks every draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from collab.core.sampling import Request
from collab.core.trajectory import Json
from collab.endpoints import reply
from collab.endpoints.reply import Completion

Body = dict[str, Json]


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One request for draws, with what only the endpoint knows."""

    request: Request
    served: str
    """What the server calls the model."""
    n: int
    seed: int
    """Of the first draw; the next ones count up."""
    stop: tuple[str, ...] = ()
    """As many of the request's stop strings as the server takes."""
    show_special: bool = False
    """Whether special tokens must appear in the text, since a stop string holds one."""
    context: int | None = None
    """Prompt and reply together (tokens), where it is known."""


class RequestFormat(Protocol):
    """How one kind of API is spoken to."""

    streams: ClassVar[bool]
    """Whether a text can be read along; if not, it is told when it is whole."""

    def place(self, url: str) -> str:
        """Return the address to send to, below the API's own (which ends in /v1)."""
        ...

    def body(self, ask: EndpointRequest) -> Body:
        """Say it all: no default of the server's stays in force."""
        ...

    def read(self, url: str, body: bytes, request: Request) -> Completion:
        """Read a reply's body.

        Raises:
            BadReply: It is none of this API's, or what it holds stands in the wrong field.
        """
        ...


class Completions:
    """OpenAI's completions with vLLM's fields: the prompt is ids or text."""

    streams: ClassVar[bool] = True

    def place(self, url: str) -> str:
        """Return the route of completions."""
        return f"{url}/completions"

    def body(self, ask: EndpointRequest) -> Body:
        """Ask for the ids back, for the stop string, and for nothing to be added to the prompt."""
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

    def read(self, url: str, body: bytes, request: Request) -> Completion:
        """Read it as it stands."""
        return reply.parse_reply(Completion, url, body)


def ids_of(request: Request) -> tuple[int, ...]:
    """Return a prompt's token ids.

    Raises:
        TypeError: It is a conversation, which only a chat dialect lays out.
    """
    if not isinstance(request.prompt, tuple):
        raise TypeError(f"this form takes ids or text, not {type(request.prompt).__name__}")
    return request.prompt
