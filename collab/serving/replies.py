"""The replies of the API, as JSON values."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from collab.serving.backend import Piece, TokenIds, TokenLogprob
from collab.serving.body import JsonObject


@dataclass(slots=True)
class RequestUsage:
    """The tokens of a request so far: each prompt once, and the completions of all choices."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def add(self, piece: Piece) -> None:
        """Count a piece."""
        self.completion += len(piece.ids)
        self.cached += piece.cached

    def body(self) -> JsonObject:
        """Return the usage in the API's format."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass(frozen=True, slots=True)
class ReplyStyle:
    """The format of the reply to one request."""

    model: str
    chat: bool
    token_ids: bool
    logprobs: bool
    scored: bool = False
    """Whether to report the prompt's log-probabilities in the field `prompt_logprobs`."""
    echo: bool = False
    """Whether to put the prompt and its log-probabilities before those of the completion."""
    only_prompt: bool = False
    """Whether to return only the prompt (`max_tokens=0`)."""
    fingerprint: str | None = None
    """The card's fingerprint, reported as `system_fingerprint`."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(
        self,
        choices: Sequence[Sequence[Piece]],
        prompts: Sequence[TokenIds],
        texts: Sequence[Sequence[str]],
    ) -> JsonObject:
        """Return the reply to a request without a stream.

        `prompts` holds the prompt of each choice; `texts` the text of each token of these prompts,
        if they are echoed.
        """
        body = self._head("chat.completion" if self.chat else "text_completion")
        pieces = [_merge(choice) for choice in choices]
        if self.echo:
            pieces = [self._echoed(*pair) for pair in zip(pieces, texts, strict=True)]
        merged = enumerate(zip(pieces, prompts, strict=True))
        body["choices"] = [self._choice(i, p, prompt, "message") for i, (p, prompt) in merged]
        if self.chat and self.token_ids:
            body["prompt_token_ids"] = list(prompts[0])
        return body

    def chunk(self, index: int, piece: Piece, prompt: TokenIds | None) -> JsonObject:
        """Return one event of a stream; `prompt` is given with the first piece of a choice."""
        body = self._head("chat.completion.chunk" if self.chat else "text_completion")
        body["choices"] = [self._choice(index, piece, prompt, "delta")]
        if self.chat and self.token_ids and prompt is not None:
            body["prompt_token_ids"] = list(prompt)
        return body

    def last(self, usage: RequestUsage) -> JsonObject:
        """Return the event of a stream that holds the usage and no choice."""
        body = self._head("chat.completion.chunk" if self.chat else "text_completion")
        return body | {"choices": [], "usage": usage.body()}

    def _head(self, kind: str) -> JsonObject:
        prefix = "chatcmpl" if self.chat else "cmpl"
        head = {"id": f"{prefix}-{self.id}", "object": kind}
        fingerprint = {"system_fingerprint": self.fingerprint} if self.fingerprint else {}
        return head | {"created": self.created, "model": self.model} | fingerprint

    def _echoed(self, piece: Piece, prompt: Sequence[str]) -> Piece:
        """Put the prompt before the completion's text."""
        drawn = replace(piece, text="", logprobs=(), ids=()) if self.only_prompt else piece
        first = TokenLogprob(prompt[0], math.nan)
        logprobs = (first, *piece.prompt_logprobs, *drawn.logprobs)
        return replace(drawn, text="".join(prompt) + drawn.text, logprobs=logprobs)

    def _choice(self, index: int, piece: Piece, prompt: TokenIds | None, part: str) -> JsonObject:
        body: JsonObject = {"index": index}
        if self.chat:
            role = {"role": "assistant"} if prompt is not None else {}
            body[part] = role | {"content": piece.text}
            logprobs = chat_logprobs(piece.logprobs)
        else:
            body["text"] = piece.text
            logprobs = text_logprobs(piece.logprobs)
            if self.token_ids:
                body["prompt_token_ids"] = None if prompt is None else list(prompt)
        body["logprobs"] = logprobs if self.logprobs else None
        body |= {"finish_reason": piece.finish, "stop_reason": piece.stop_reason}
        if self.token_ids:
            body["token_ids"] = list(piece.ids)
        if self.scored:
            body["prompt_logprobs"] = prompt_logprobs(piece.prompt_logprobs)
        return body


def text_logprobs(tokens: Iterable[TokenLogprob]) -> JsonObject:
    """Return the log-probabilities of a completion."""
    body: JsonObject = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    offset = 0
    for token in tokens:
        known = not math.isnan(token.logprob)
        ranked = {entry.token: entry.logprob for entry in (token, *token.top)}
        body["tokens"].append(token.token)
        body["token_logprobs"].append(token.logprob if known else None)
        body["top_logprobs"].append(ranked if known else None)
        body["text_offset"].append(offset)
        offset += len(token.token)
    return body


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> JsonObject:
    """Return the log-probabilities of a chat's answer."""
    return {
        "content": [
            _entry(token) | {"top_logprobs": [_entry(top) for top in token.top]} for token in tokens
        ]
    }


def prompt_logprobs(tokens: Iterable[TokenLogprob]) -> list[JsonObject | None]:
    """Return the log-probabilities of a prompt as vLLM does: by id, null for the first token."""
    return [
        None,
        *(
            {
                str(entry.id): {
                    "logprob": entry.logprob,
                    "rank": entry.rank,
                    "decoded_token": entry.token,
                }
                for entry in (token, *token.top)
            }
            for token in tokens
        ),
    ]


def _entry(token: TokenLogprob) -> JsonObject:
    return {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": list(token.token.encode()),
    }


def _merge(pieces: Sequence[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    last = pieces[-1]
    return Piece(
        text="".join(piece.text for piece in pieces),
        ids=tuple(token for piece in pieces for token in piece.ids),
        choice=last.choice,
        finish=last.finish,
        stop_reason=last.stop_reason,
        logprobs=tuple(entry for piece in pieces for entry in piece.logprobs),
        prompt_logprobs=pieces[0].prompt_logprobs,
    )
