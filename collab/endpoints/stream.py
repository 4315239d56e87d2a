"""Join the events of a streamed completion into one reply."""

from __future__ import annotations

from collab.endpoints.api_error import MARK
from collab.endpoints.bound import check_count
from collab.endpoints.error_mapping import strange
from collab.endpoints.finish_reasons import ending_of
from collab.endpoints.limits import Retryable
from collab.endpoints.reply import Choice, Completion, ReplyLogprobs, Usage
from collab.endpoints.request_format import StreamFormat
from collab.errors import BadReply, Unreachable

FIELDS = (b"", b"data", b"event", b"id", b"retry")
"""The fields of an event stream; a comment has an empty one."""


class StreamedParts:
    """The events of a streamed completion.

    Args:
        form: Parses the events.
        url: The address of the stream.
        tokens: The most tokens of the completion.
    """

    def __init__(self, form: StreamFormat, url: str, tokens: int) -> None:
        self._form, self.url, self._tokens = form, url, tokens
        self.text = ""
        """The text so far."""
        self._begun = self._done = False
        self._plain = bytearray()
        """A reply that is not a stream, although one was requested."""
        self._last = Choice(text="")
        self._prompt_ids: tuple[int, ...] | None = None
        self._ids: list[int] | None = None
        self._drawn: list[float | None] = []
        self._tops: list[dict[str, float | None] | None] = []
        self._usage: Usage | None = None
        self._model: str | None = None
        self._fingerprint: str | None = None
        self._odd: list[str] = []

    def add(self, line: bytes) -> str:
        """Add a line of the stream, and return its text.

        Raises:
            Retryable: The server reports an error that may pass.
            EndpointError: It reports another error, or this is not an event stream, or it has more
                tokens than requested.
        """
        if not self._begun:
            line = line.removeprefix(MARK)
        if self._plain or (not self._begun and line.lstrip().startswith(b"{")):
            self._plain += line + b"\n"
            return ""
        field, _, value = line.partition(b":")
        data = value.strip()
        if field.strip() not in FIELDS:
            raise strange(self.url, line, "not an event stream")
        self._begun = self._begun or field == b"data"
        self._done = self._done or data == b"[DONE]"
        if field != b"data" or data in (b"", b"[DONE]"):
            return ""
        return self._take(self._form.parse(self.url, data))

    def join(self) -> Completion:
        """Return the completion as one reply.

        Raises:
            Retryable: The stream ended before the completion, or aborted it.
            EndpointError: As for a whole reply, if this is not a stream.
        """
        if self._plain:
            return self._form.parse_whole(self.url, bytes(self._plain))
        if not self._done and self._last.finish_reason is None:
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
        ).noting(self._odd)

    def _take(self, part: Completion) -> str:
        """Add an event, and return its text."""
        self._usage = part.usage or self._usage
        self._model = part.model or self._model
        self._fingerprint = part.system_fingerprint or self._fingerprint
        self._odd += part.odd
        if len(part.choices) > 1:
            raise BadReply(f"{self.url} returned {len(part.choices)} choices for n=1")
        for choice in part.choices:
            self._add(choice)
            return choice.written
        return ""

    def _add(self, choice: Choice) -> None:
        """Add a part of the choice.

        Raises:
            BadReply: There are more tokens than requested.
        """
        ended = self._last.finish_reason is not None and choice.finish_reason is None
        if not ended:  # an event after the last one has no reason
            self._last = choice
        if ending_of(choice.finish_reason) == "again":
            raise Retryable(
                Unreachable(f"{self.url} aborted the draw (finish_reason {choice.finish_reason!r})")
            )
        self.text += choice.written
        if self._prompt_ids is None:
            self._prompt_ids = choice.prompt_token_ids
        if choice.token_ids is not None:
            self._ids = self._ids or []
            self._ids += choice.token_ids
        if choice.logprobs is not None:
            self._drawn += choice.logprobs.token_logprobs or ()
            self._tops += choice.logprobs.top_logprobs or ()
        check_count(self._tokens, max(map(len, (self._ids or (), self._drawn, self._tops))))
